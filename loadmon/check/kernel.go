package check

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
)

// LookInterval is between two looks at the sockets of this node.
const LookInterval = 500 * time.Millisecond

const (
	looksGone  = 2 // looks without a listener, until that is tried
	looksRetry = 4 // looks between two tries while it is gone
	dialLimit  = time.Second
)

// kernel is what this node's sockets show of an instance. Only listeners that were seen here can be gone: one in another
// network namespace never is.
type kernel struct {
	heard  map[netip.AddrPort]bool // listeners that were seen
	gone   int                     // looks in a row at which none of them was there
	trying bool                    // a connection to it is being tried
	lost   bool                    // nobody listens, and a connection was refused
	why    Outcome

	doubted bool // it is to be tried although no listener was seen: see Judge
}

// look takes up the listeners of this moment. try: whether the instance is there is to be tried by a connection; ask: its
// check is to come at once.
func (s *subject) look(listening map[netip.AddrPort]bool) (try, ask bool) {
	k := &s.kernel
	there := false
	for _, a := range s.listeners {
		if listens(listening, a) {
			if k.heard == nil {
				k.heard = map[netip.AddrPort]bool{}
			}
			k.heard[a], there = true, true
		}
	}
	switch {
	case there:
		s.judged = true
		ask = k.gone > 0 && s.rung.verdict == cluster.Dead
		k.gone, k.lost = 0, false
	case k.doubted && !s.judged:
		k.gone, k.doubted = looksGone, false
		try = !k.trying
	case k.lost || len(k.heard) > 0:
		k.gone++
		ask = k.gone == 1
		try = !s.connects() && !k.trying && k.gone >= looksGone && (k.gone-looksGone)%looksRetry == 0
	}
	return try, ask && s.runs()
}

// tried takes up what such a connection showed. An instance that answers although its listener is gone is served by somebody
// else now, as through a port mapping: its sockets here say nothing any more.
func (s *subject) tried(o Outcome) {
	k := &s.kernel
	k.trying, s.judged = false, true
	switch {
	case o.Kind == Good:
		*k = kernel{}
	case o.Kind == Refused && k.gone > 0:
		k.lost, k.why = true, Outcome{Kind: Refused, Reason: "its process does not listen any more: " + o.Reason}
	}
}

// listens says whether a socket of the address, or one of all addresses, is there.
func listens(listening map[netip.AddrPort]bool, a netip.AddrPort) bool {
	return listening[a] || listening[netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port())] ||
		a.Addr().Is4() && listening[netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port())]
}

// watch looks at the node's sockets, hears silence, and tells what has held long enough, until the context ends.
func (c *Checker) watch(ctx context.Context, probes *sync.WaitGroup) {
	last := c.now()
	for runner.Sleep(ctx, c.every-(last-offset(c.o.Node))%c.every) { // so that it falls together with checks
		listening, known := c.sockets()
		c.mu.Lock()
		now := c.now()
		if gap := now - last - c.every; gap > stopped {
			c.missed(gap)
		}
		last = now
		for _, s := range c.subjects {
			if known && s.own {
				c.looked(ctx, s, listening, probes)
			}
			s.listen(now)
			c.tell(s)
		}
		c.hurry()
		c.mu.Unlock()
	}
}

// sockets are the addresses that are listened on; not known where nobody told how to list them, or that failed.
func (c *Checker) sockets() (map[netip.AddrPort]bool, bool) {
	if c.o.Listening == nil {
		return nil, false
	}
	list, err := c.o.Listening()
	if err != nil {
		if !c.blind.Swap(true) {
			c.o.Logger.Warn("the kernel's sockets cannot be listed: a process that ends is noticed by checks alone", "err", err)
		}
		return nil, false
	}
	c.blind.Store(false)
	clear(c.listening)
	for _, a := range list {
		c.listening[a] = true
	}
	return c.listening, true
}

// missed forgives the time in which this process did not run: nobody could report to it.
func (c *Checker) missed(gap time.Duration) {
	for _, s := range c.subjects {
		s.said.ok += gap
	}
}

func (c *Checker) looked(ctx context.Context, s *subject, listening map[netip.AddrPort]bool, probes *sync.WaitGroup) {
	try, ask := s.look(listening)
	if ask && !s.busy {
		c.due.set(s, c.now())
	}
	if !try || len(s.listeners) == 0 {
		return
	}
	s.kernel.trying = true
	t := s.task
	t.address = s.listeners[0]
	t.check = &cluster.Check{TCP: &cluster.TCPCheck{}, Timeout: cluster.Duration(dialLimit)}
	probes.Go(func() {
		o := run(ctx, t)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.subjects[t.id] == s && len(s.listeners) > 0 && s.listeners[0] == t.address {
			s.tried(o)
			c.tell(s)
		}
	})
}
