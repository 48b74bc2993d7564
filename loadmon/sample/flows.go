package sample

import (
	"hash/maphash"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/conntrack"
)

// Flows are the connections of a listener.
type Flows struct {
	Active            uint64 // TCP connections that are established, and flows of other protocols that were answered
	BytesIn, BytesOut uint64 // since the last time, where the kernel counts them (net.netfilter.nf_conntrack_acct)
	Unanswered        uint64 // TCP connections that had no answer the last time, and still have none; each counts once
}

// tracked remembers what the kernel's entries had counted. An entry outlives its connection by some seconds (closed TCP 10
// to 120 s, UDP 30 s), so that looking each few seconds finds the last byte of nearly all.
type tracked struct {
	seed      maphash.Seed
	listeners map[cluster.Listener]bool // of the last time: on others, what was counted before is no news
	bytes     map[uint64][2]uint64
	waiting   map[uint64]bool // connections without an answer; true: they were counted
	most      int             // entries of which the bytes are remembered
}

// maxCounted bounds the memory for bytes to some 20 MiB. Where there are more connections, the bytes of some are not counted, and
// none twice.
const maxCounted = 1 << 18

// maxWaiting bounds how many of these are remembered: beyond it an instance has long been found failing.
const maxWaiting = 1 << 16

func newTracked() *tracked { return &tracked{seed: maphash.MakeSeed(), most: maxCounted} }

// look walks through the table once, however many listeners there are.
func (t *tracked) look(listeners []cluster.Listener) (map[cluster.Listener]Flows, error) {
	out, wanted := make(map[cluster.Listener]Flows, len(listeners)), make(map[cluster.Listener]bool, len(listeners))
	for _, l := range listeners {
		wanted[l] = true
	}
	next, waiting, full := make(map[uint64][2]uint64, len(t.bytes)), map[uint64]bool{}, false
	_, err := conntrack.List(unix.AF_UNSPEC, func(e conntrack.Entry) bool {
		l := cluster.Listener{Address: e.Answers, Proto: cluster.Proto(e.Proto)}
		if !wanted[l] {
			return false
		}
		f := out[l]
		if e.Replied && !e.Ending() {
			f.Active++
		}
		if e.Unanswered() && len(waiting) < maxWaiting {
			key := e.Hash(t.seed)
			counted, waited := t.waiting[key]
			if waited && !counted {
				f.Unanswered++
			}
			waiting[key] = waited
		}
		if now := [2]uint64{e.Sent, e.Got}; now != [2]uint64{} && len(next) == t.most {
			full = true
		} else if now != [2]uint64{} {
			key := e.Hash(t.seed)
			if before, known := t.bytes[key]; known || t.listeners[l] {
				f.BytesIn += Since(before[0], now[0])
				f.BytesOut += Since(before[1], now[1])
			}
			next[key] = now
		}
		out[l] = f
		return false
	})
	if err != nil {
		return nil, err
	}
	if full {
		wanted = nil // which of those that are not remembered are new cannot be told any more
	}
	t.bytes, t.listeners, t.waiting = next, wanted, waiting
	return out, nil
}
