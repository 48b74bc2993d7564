package watchman

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

const tick = 250 * time.Millisecond

// machine is one node as it really is.
type machine struct {
	on      bool      // it runs, and its instances answer
	since   time.Time // they do
	agent   bool      // its agent does, too
	beat    time.Time // of its lease
	monitor bool
	hosts   bool
}

// sim is a cluster in virtual time, under one leader after the other.
type sim struct {
	now      time.Time
	etcd     bool // it answers
	machines map[string]*machine
	state    State
	led      time.Time // the present leader does since
	sight    Sight
	pending  []pending
	declared []declaration
	up       []string
	raised   int
	last     Orders
	check    func(Orders)
}

type pending struct {
	due    time.Time
	looked Looked
}

type declaration struct {
	node string
	at   time.Time
}

// newSim is a cluster of nodes that host instances, watched for long enough.
func newSim(nodes int) *sim {
	s := &sim{now: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC), etcd: true, machines: map[string]*machine{}}
	s.sight = Sight{Answered: s.now, Nodes: map[string]Node{}, Alive: map[string]bool{}, Recorded: map[string]cluster.Gone{}}
	for i := range nodes {
		name := fmt.Sprintf("n%d", i+1)
		s.machines[name] = &machine{on: true, agent: true, beat: s.now, monitor: true, hosts: true}
		s.sight.Nodes[name] = Node{Hosts: true, Monitor: true}
	}
	s.led = s.now
	s.run(leaseTTL + goneFor)
	return s
}

func (s *sim) names() []string { return slices.Sorted(maps.Keys(s.machines)) }

// kill ends machines.
func (s *sim) kill(names ...string) {
	for _, name := range names {
		s.machines[name].on = false
	}
}

// stop ends agents; in order, so that they give their leases back.
func (s *sim) stop(names ...string) {
	for _, name := range names {
		s.machines[name].agent = false
		delete(s.sight.Alive, name)
	}
}

func (s *sim) revive(names ...string) {
	for _, name := range names {
		m := s.machines[name]
		if m.agent = true; !m.on {
			m.on, m.since = true, s.now
		}
	}
}

// elect has another leader go on.
func (s *sim) elect() { s.state, s.pending, s.led = State{}, nil, s.now }

func (s *sim) run(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.step()
	}
}

func (s *sim) step() {
	s.now = s.now.Add(tick)
	if s.etcd {
		s.sight.Answered = s.now
		s.leases()
	}
	s.sight.Now, s.sight.Looked = s.now, nil
	s.pending = slices.DeleteFunc(s.pending, func(p pending) bool {
		if p.due.After(s.now) {
			return false
		}
		s.sight.Looked = append(s.sight.Looked, p.looked)
		return true
	})
	s.state, s.last = Decide(s.state, s.sight)
	if s.check != nil {
		s.check(s.last)
	}
	s.carryOut(s.last)
}

// leases are renewed each two seconds, and end after ten.
func (s *sim) leases() {
	for _, name := range s.names() {
		m := s.machines[name]
		switch n := s.sight.Nodes[name]; {
		case m.on && m.agent:
			m.beat = s.now
			if !s.sight.Alive[name] {
				s.sight.Alive[name] = true
				n.Down = nil
				s.sight.Nodes[name] = n
			}
		case s.now.Sub(m.beat) >= leaseTTL:
			delete(s.sight.Alive, name)
		}
	}
}

func (s *sim) carryOut(o Orders) {
	s.sight.Recorded = o.Gone
	s.up = append(s.up, o.Up...)
	if o.Raised {
		s.raised++
	}
	for _, v := range o.Down {
		s.declared = append(s.declared, declaration{v.Node, s.now})
		n := s.sight.Nodes[v.Node]
		n.Down = &v.Down
		s.sight.Nodes[v.Node] = n
	}
	for _, l := range o.Looks {
		s.pending = append(s.pending, s.look(l))
	}
}

func (s *sim) look(l Look) pending {
	p := pending{s.now.Add(time.Second), Looked{Node: l.Node, Number: l.Number}}
	asked := 0
	for _, looker := range l.Lookers {
		m := s.machines[looker]
		switch {
		case asked == l.Need || !m.on || !m.agent || !m.monitor:
			continue
		case s.machines[l.Node].on:
			p.due, p.looked.Answered = s.now.Add(tick), "10.0.0.1:80 answers "+looker
		default:
			p.looked.Silent = append(p.looked.Silent, looker)
		}
		asked++
	}
	return p
}

func (s *sim) down() (out []string) {
	for _, name := range s.names() {
		if s.sight.Nodes[name].Down != nil {
			out = append(out, name)
		}
	}
	return out
}

// requireDownWithin steps until exactly these nodes are down, and returns how long that took.
func (s *sim) requireDownWithin(t *testing.T, d time.Duration, names ...string) time.Duration {
	t.Helper()
	begin := s.now
	for !slices.Equal(s.down(), names) {
		require.Less(t, s.now.Sub(begin), d, "down are %v, not %v: %+v", s.down(), names, s.sight.Recorded)
		s.step()
	}
	return s.now.Sub(begin)
}

// requireNeverDown runs for a while in which nobody is declared down.
func (s *sim) requireNeverDown(t *testing.T, d time.Duration) {
	t.Helper()
	before := len(s.declared)
	s.run(d)
	require.Len(t, s.declared, before, "%+v", s.declared)
}
