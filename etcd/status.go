package etcd

import (
	"sync"
	"time"
)

// Status is how the watch of net/ stands.
type Status struct {
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`    // of Connected, or of its end
	Revision  int64     `json:"revision"` // of the last snapshot
	Endpoint  string    `json:"endpoint,omitempty"`
	Insecure  bool      `json:"insecure,omitempty"` // --insecure-etcd was given
	LastError string    `json:"last_error,omitempty"`
	Relists   int       `json:"relists"` // lists after the first: compaction, a falling revision, the slow round
}

// Status tells how the watch stands; the last one to say something, if there are several.
func (s *Store) Status() Status {
	s.status.mu.Lock()
	defer s.status.mu.Unlock()
	return s.status.status
}

type statusBox struct {
	mu     sync.Mutex
	status Status
}

func (b *statusBox) set(change func(*Status)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.status)
}

func (b *statusBox) connected(endpoint string) {
	b.set(func(st *Status) {
		if !st.Connected {
			st.Connected, st.Since = true, time.Now()
		}
		st.Endpoint = endpoint
	})
}

// away keeps the error after the connection is back: it is what somebody asks for who looks too late.
func (b *statusBox) away(err error) {
	b.set(func(st *Status) {
		if st.Connected {
			st.Connected, st.Since = false, time.Now()
		}
		st.LastError = printable(err.Error())
	})
}
