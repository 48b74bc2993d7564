package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// cast is who plays: what etcd says of the service's instances and of the nodes at one moment.
type cast struct {
	revision int64
	players  []player // by node and id
	nodes    []place
	wanted   int // how many should serve, and why
	why      string
}

// player is one launched instance.
type player struct {
	id, node    string
	is          string // what it does, in a word or two
	takes       bool   // new connections
	ready       bool
	leaving     bool
	pid, starts int
}

// place is one node.
type place struct {
	name string
	is   string // "", or what is wrong with it
}

// What players do. Other words are cluster's statuses and phases.
const (
	isServing  = "serving"
	isStandby  = "stands by"
	isStarting = "starting"
	isDraining = "draining"
	isStopping = "stopping"
	isLost     = "lost"
)

// castOf puts together what a snapshot and operations say of a service.
func castOf(s *cluster.Snapshot, ops *cluster.Operations, service string, nodes []string) cast {
	c := cast{revision: s.Revision, wanted: ops.Scaled[service].Replicas, why: ops.Scaled[service].Reason}
	states := map[string]cluster.State{}
	if in, ok := s.Services.Get(service); ok {
		for _, state := range cluster.Resolve(in).Instances {
			states[state.Instance.ID] = state
		}
	}
	for _, node := range nodes {
		c.nodes = append(c.nodes, place{node, nodeIs(s, ops, node)})
		for id, a := range ops.Assigned[node] {
			if a.Service == service {
				_, down := s.Down[node]
				c.players = append(c.players, playerOf(node, id, a, ops.Launched[node][id], states[id], down))
			}
		}
	}
	slices.SortFunc(c.players, func(a, b player) int { return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.id, b.id)) })
	return c
}

func nodeIs(s *cluster.Snapshot, ops *cluster.Operations, node string) string {
	_, down := s.Down[node]
	admin := s.NodeAdmin[node]
	switch {
	case down:
		return "down"
	case !ops.Alive[node]:
		return "gone"
	case admin != nil && admin.Drain:
		return "drained"
	}
	return ""
}

func playerOf(node, id string, a cluster.Assignment, l cluster.Launched, state cluster.State, down bool) player {
	p := player{id: id, node: node, pid: l.PID, starts: l.Starts, takes: state.Takes()}
	p.ready = l.Phase == cluster.PhaseReady
	p.leaving = a.Wanted == cluster.WantDrained || a.Wanted == cluster.WantStopped
	switch {
	case down:
		p.is = isLost
	case a.Wanted == cluster.WantStopped:
		p.is = isStopping
	case a.Wanted == cluster.WantDrained:
		p.is = isDraining
	case l.Phase == "" || l.Phase == cluster.PhaseStarting:
		p.is = isStarting
	case l.Phase != cluster.PhaseReady:
		p.is = string(l.Phase)
	case p.takes:
		p.is = isServing
	case state.Status == cluster.Standby:
		p.is = isStandby
	default: // nodes may not know of it yet
		p.is = cmp.Or(string(state.Status), isStarting)
	}
	return p
}

// serving are those that take new connections.
func (c cast) serving() (n int) {
	for _, p := range c.players {
		if p.takes {
			n++
		}
	}
	return n
}

// are is how many do one thing.
func (c cast) are(is string) (n int) {
	for _, p := range c.players {
		if p.is == is {
			n++
		}
	}
	return n
}

// on are the players of a node.
func (c cast) on(node string) (out []player) {
	for _, p := range c.players {
		if p.node == node {
			out = append(out, p)
		}
	}
	return out
}

func (c cast) player(id string) (player, bool) {
	i := slices.IndexFunc(c.players, func(p player) bool { return p.id == id })
	if i < 0 {
		return player{}, false
	}
	return c.players[i], true
}

// settled says whether so many serve, so many stand by, and nobody else is there.
func (c cast) settled(serving, standby int) bool {
	return c.are(isServing) == serving && c.are(isStandby) == standby && len(c.players) == serving+standby
}

// String is one line: "6 serving (n1 2, n2 2, n3 2), 1 stands by; n3 is down".
func (c cast) String() string {
	on, others := map[string]int{}, map[string]int{}
	for _, p := range c.players {
		if p.takes && p.is != isLost {
			on[p.node]++
		} else {
			others[p.is]++
		}
	}
	var places []string
	for _, node := range slices.Sorted(maps.Keys(on)) {
		places = append(places, fmt.Sprintf("%s %d", node, on[node]))
	}
	parts := []string{fmt.Sprintf("%d serving", c.serving())}
	if len(places) > 0 {
		parts[0] += " (" + strings.Join(places, ", ") + ")"
	}
	for _, is := range slices.Sorted(maps.Keys(others)) {
		parts = append(parts, fmt.Sprintf("%d %s", others[is], is))
	}
	text := strings.Join(parts, ", ")
	for _, n := range c.nodes {
		if n.is != "" {
			text += fmt.Sprintf("; %s is %s", n.name, n.is)
		}
	}
	return text
}
