package etcd

import (
	"errors"
	"math/rand/v2"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

var (
	errTurned = errors.New("the member did not answer, so another one is asked")
	errClosed = errors.New("the store is closed")
)

// members holds the connection to one member of the cluster at a time, and turns to the next when told so. A client
// with several endpoints would spread requests over all of them and stay with a frozen one.
type members struct {
	endpoints []string
	dial      func(endpoint string) (*clientv3.Client, error)

	mu     sync.Mutex
	at     int
	now    *link
	closed bool
}

type link struct {
	client   *clientv3.Client
	endpoint string
}

// turned is closed when the store has left this member.
func (l *link) turned() <-chan struct{} { return l.client.Ctx().Done() }

// newMembers begins anywhere, so that a thousand agents do not all meet at the first endpoint.
func newMembers(endpoints []string, dial func(string) (*clientv3.Client, error)) *members {
	return &members{endpoints: endpoints, dial: dial, at: rand.IntN(len(endpoints))}
}

// link is the connection to the present member; it is made when there is none.
func (m *members) link() (*link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errClosed
	}
	if m.now != nil {
		return m.now, nil
	}
	endpoint := m.endpoints[m.at%len(m.endpoints)]
	client, err := m.dial(endpoint)
	if err != nil {
		m.at++
		return nil, err
	}
	m.now = &link{client: client, endpoint: endpoint}
	return m.now, nil
}

// turn leaves a member, unless somebody else did already.
func (m *members) turn(from *link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now != from {
		return
	}
	m.now = nil
	m.at++
	_ = from.client.Close() // it is being given up because it does not answer
}

func (m *members) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.now == nil {
		return nil
	}
	l := m.now
	m.now = nil
	return l.client.Close()
}
