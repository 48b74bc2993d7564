package placement

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// movePause is from one move of a service's instances to the next. So long at most the instance that moves is to go: when its
// substitute is not ready by then, it stays.
const movePause = 5 * time.Minute

// move is one that would help.
type move struct {
	team     *team
	member   *member
	from, to *room
	share    float64 // of the processors of its node
}

// leavingBusyNode says why an instance is to go once its substitute is ready, or "".
func (r *round) leavingBusyNode(m *member) string {
	moved, there := r.Operations.Moved[m.assignment.Service]
	if there && moved.ID == m.id && moved.From == m.node && r.Now.Sub(moved.Since) < movePause {
		return moved.Reason
	}
	return ""
}

// relieve moves one instance off each node that has been hot for long, where another node is cool and the two are more even
// afterwards: the hottest first, of its instances the one that takes most. The substitute is placed in the same step; from
// then on things go as for any instance that is replaced.
func (r *round) relieve(calm []*team) {
	busy := r.moving()
	hot := slices.DeleteFunc(slices.Collect(maps.Keys(r.rooms)), func(node string) bool { return !r.hot(node) || busy[node] })
	slices.SortFunc(hot, func(a, b string) int {
		return cmp.Or(cmp.Compare(r.Hosts[b].Busy, r.Hosts[a].Busy), cmp.Compare(a, b))
	})
	for _, node := range hot {
		if m, ok := r.bestMove(r.rooms[node], calm, busy); ok && r.carry(m) {
			busy[m.from.node], busy[m.to.node] = true, true
			calm = slices.DeleteFunc(slices.Clone(calm), func(t *team) bool { return t == m.team })
		}
	}
}

// bestMove is the one off a node that takes most from it.
func (r *round) bestMove(from *room, calm []*team, busy map[string]bool) (best move, ok bool) {
	for _, t := range calm {
		if last, there := r.Operations.Moved[t.service.Name]; there && r.Now.Sub(last.Since) < movePause {
			continue
		}
		for _, m := range t.staying {
			share, known := r.Shares[t.service.Name][m.id]
			if m.node != from.node || m.standby() || !known || share <= best.share {
				continue
			}
			if to := r.coolest(t.service, from, share, busy); to != nil {
				best, ok = move{team: t, member: m, from: from, to: to, share: share}, true
			}
		}
	}
	return best, ok
}

// coolest is the node to which an instance would move: one that is cool, has room, and is no busier afterwards than the node
// that the instance comes from; so that it does not come back for the same reason.
func (r *round) coolest(s *cluster.Service, from *room, share float64, busy map[string]bool) (to *room) {
	hot := r.Hosts[from.node].Busy
	for _, node := range slices.Sorted(maps.Keys(r.rooms)) {
		h, fresh := r.heat(node)
		if node == from.node || !fresh || busy[node] || h.Busy >= coolBelow || h.Busy+share >= hot-share || r.rooms[node].fits(s) != "" {
			continue
		}
		if to == nil || h.Busy < r.Hosts[to.node].Busy {
			to = r.rooms[node]
		}
	}
	return to
}

// carry writes a move: the substitute's assignment and what is known of the move, in one step.
func (r *round) carry(m move) bool {
	s := m.team.service
	a, claims, ok := m.team.assignment(m.to, cluster.WantServing)
	if !ok {
		return false
	}
	hot, cool := r.Hosts[m.from.node].Busy, r.Hosts[m.to.node].Busy
	a.Reason = fmt.Sprintf("in place of %s on node %s", m.member.id, m.from.node)
	id := r.newID(s.Name)
	reason := fmt.Sprintf("node %s was %.0f %% busy for %d periods, and node %s %.0f %%", m.from.node, 100*hot, periods, m.to.node, 100*cool)
	r.do(cluster.EventMoved, s.Name, fmt.Sprintf("instance %s moves from node %s to node %s, as %s: %s", m.member.id, m.from.node, m.to.node, id, reason),
		cluster.Assign{Node: m.to.node, ID: id, Assignment: a, Claims: claims},
		cluster.SetMoved{Service: s.Name, Moved: &cluster.Moved{ID: m.member.id, From: m.from.node, To: m.to.node, Reason: reason, Since: r.Now}})
	e := &r.actions[len(r.actions)-1].Event
	e.In = cluster.Figures{m.from.node: {"busy": hot}, m.to.node: {"busy": cool}, m.member.id: {"share": m.share}}
	e.Out = cluster.Figures{m.from.node: {"busy": hot - m.share}, m.to.node: {"busy": cool + m.share}}
	return true
}

// calm says whether nothing is going on with a service: all that are wanted run here and are ready, and no others are there.
func (t *team) calm(members []*member) bool {
	if t.cramped || cmp.Or(t.service.Run.Driver, cluster.DriverProcess) != cluster.DriverProcess {
		return false
	}
	quiet, serving := len(t.staying), 0
	for _, m := range members {
		quiet += truth(m.phase() == cluster.PhaseRefused) // of which only its node's word is left
	}
	if quiet < len(members) {
		return false
	}
	for _, m := range t.staying {
		if !m.ready() {
			return false
		}
		serving += truth(m.assignment.Wanted == cluster.WantServing)
	}
	return serving == t.want
}
