package placement

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// service decides about one service's instances.
func (r *round) service(name string, members []*member) {
	order(members)
	in, published := r.Snapshot.Services.Get(name)
	if !published {
		r.vanished(name, members)
		return
	}
	if in.Service.Run != nil && in.Service.Run.Driver == cluster.DriverExternal {
		r.external(in.Service, members)
		r.call(in)
		return
	}
	if !in.Service.Launched() {
		r.withdrawn(members, "its service is not launched any more")
		r.call(in)
		return
	}
	if in.Called != nil { // it was a list of machines before
		r.uncall(name)
	}
	s := in.Service
	t := team{round: r, service: s, version: Version(s), want: r.Want[name]}
	for _, m := range members {
		t.sort(m)
	}
	t.cast()
	t.start()
	t.shrink()
	t.replace()
	if t.calm(members) {
		r.calm = append(r.calm, &t)
	}
}

// team are the instances of one service.
type team struct {
	*round
	service *cluster.Service
	version string
	want    int       // how many should serve
	staying []*member // run, and should go on
	leaving []*member // run, and should go once there is a substitute
	cramped bool      // there is no room for one more
}

// sort puts an instance where it belongs.
func (t *team) sort(m *member) {
	admin := t.Snapshot.NodeAdmin[m.node]
	switch {
	case t.forgotten(m):
		t.unassign(m)
		return
	case m.lost:
		return // its node may come back, and then the better copy is kept
	case m.phase() == cluster.PhaseRefused:
		t.refused(m)
		return
	case !m.kept():
		t.depart(m)
		return
	case m.assignment.Version != t.version:
		m.leaving = "another version of it is wanted"
	case admin != nil && admin.Drain:
		m.leaving = "its node is drained"
	case t.mismatched(m.node) != "":
		m.leaving = t.mismatched(m.node)
	case t.leavingBusyNode(m) != "":
		m.leaving, m.moves = t.leavingBusyNode(m), true
	case m.sick(t.service, t.Now):
		m.leaving = "it is not well: " + m.state.Reason
	}
	if m.leaving != "" {
		t.leaving = append(t.leaving, m)
		return
	}
	t.staying = append(t.staying, m)
	t.refresh(m)
}

// forgotten says whether an operator forgot the node, and nobody launches there.
func (r *round) forgotten(m *member) bool {
	_, joined := r.Snapshot.Nodes.Get(m.node)
	return !joined && !r.launching(m.node)
}

// mismatched says why a node does not suit the service any more, or "".
func (t *team) mismatched(node string) string {
	if o := t.rooms[node]; o != nil {
		return o.mismatch(t.service)
	}
	return ""
}

// refresh hands on what may change while an instance runs.
func (t *team) refresh(m *member) {
	next := m.assignment
	describe(&next, t.service)
	if reflect.DeepEqual(m.assignment, next) {
		return
	}
	m.assignment = next
	t.do("", "", "", cluster.Assign{Node: m.node, ID: m.id, Assignment: next})
}

// describe fills in what the service's file says, and may change while an instance runs.
func describe(a *cluster.Assignment, s *cluster.Service) {
	a.Run, a.Check, a.Fixed = *s.Run, s.Check, s.Scale == nil
}

// refused looks for another place for what a node does not run. A port that somebody else listens on is not given to anybody
// for a while; the others of the instance are free again. Otherwise the node's word stands where everybody can read it, and the node is not asked again, until it had time
// to change its mind or something else is asked of it.
func (t *team) refused(m *member) {
	word := cluster.Problem{What: "no reason is known"}
	if m.launched.Problem != nil {
		word = *m.launched.Problem
	}
	told := fmt.Sprintf("instance %s on node %s: %s", m.id, m.node, word.Wrong())
	if word.Fix != "" {
		told += ": " + word.Fix
	}
	switch {
	case m.launched.PortBusy != 0:
		end := t.release(m)
		end.Busy = m.launched.PortBusy
		t.do(cluster.EventRefused, t.service.Name, told, end)
	case m.assignment.Version != t.version || !t.refuses(m.node, m.assignment, *m.launched):
		t.unassign(m)
		return
	case m.assignment.Wanted != cluster.WantStopped:
		m.assignment.Wanted, m.assignment.Reason, m.assignment.Since = cluster.WantStopped, "its node refuses it", t.Now
		t.do(cluster.EventRefused, t.service.Name, told, cluster.Assign{Node: m.node, ID: m.id, Assignment: m.assignment})
	}
	t.refusal(m, word)
}

// refusal is a node's word on a service, told once however many instances it refuses for the same reason.
func (t *team) refusal(m *member, word cluster.Problem) {
	p := cluster.Problem{Object: named(t.service.Name), Field: "run", What: fmt.Sprintf("node %s refuses it: %s", m.node, word.Wrong()), Fix: cmp.Or(word.Fix, "see the log of its launcher")}
	if m.launched.PortBusy == 0 && t.machines[m.node] == nil {
		p.Fix += fmt.Sprintf("; the node is asked again after %.0f minutes, or when its launcher was restarted, which reads its list then", refusalRest.Minutes())
	}
	if !slices.Contains(t.problems, p) {
		t.problems = append(t.problems, p)
	}
}

// cast has so many serve as are wanted, and the others stand by: who is ready serves first.
func (t *team) cast() {
	serving := 0
	for _, m := range t.staying {
		if !m.standby() {
			serving++
		}
	}
	standby := slices.DeleteFunc(slices.Clone(t.staying), func(m *member) bool { return !m.standby() })
	slices.SortStableFunc(standby, func(a, b *member) int { return truth(b.ready()) - truth(a.ready()) })
	for _, m := range standby {
		if serving >= t.want {
			break
		}
		t.round.want(m, cluster.WantServing, "from the warm pool, "+wanted(t.want))
		serving++
	}
}

// starting is how many were started to serve and are not ready yet.
func (t *team) starting() (n int) {
	for _, m := range t.staying {
		if !m.standby() && !m.ready() {
			n++
		}
	}
	return n
}

// start places what is missing: first to serve, then to stand by.
func (t *team) start() {
	serving, standby := 0, 0
	for _, m := range t.staying {
		if m.standby() {
			standby++
		} else {
			serving++
		}
	}
	for surge := t.surge(); serving < t.want && surge > 0; serving++ {
		surge--
		if why := t.place(cluster.WantServing, wanted(t.want)); why != "" {
			t.lacks = append(t.lacks, lack{service: t.service, missing: t.want - serving, why: why})
			return
		}
	}
	if serving < t.want {
		return
	}
	for ; standby < t.warm(); standby++ {
		if t.place(cluster.WantStandby, standBy(t.warm())) != "" {
			return
		}
	}
}

// warm is how many should stand by: for a service that nobody uses none.
func (t *team) warm() int {
	if t.want == 0 {
		return 0
	}
	return t.service.Warm
}

// surge is how many may be started now: while some are replaced, a quarter of what is wanted at a time.
func (t *team) surge() int {
	if !slices.ContainsFunc(t.leaving, func(m *member) bool { return !m.moves }) {
		return t.want
	}
	return max(1, (t.want+3)/4) - t.starting()
}

// place puts one more instance on the best node, or says why there is no room.
func (t *team) place(w cluster.Wanted, reason string) (noRoom string) {
	for {
		o, why := t.best(t.service)
		if o == nil {
			t.cramped = true
			fix := "add a node, free one, or lower what the service asks for"
			if len(t.rooms) == 0 {
				fix = "start weir launcher on each node that may run instances"
			}
			t.problems = append(t.problems, cluster.Problem{Object: named(t.service.Name), Field: "run", What: "one more instance is wanted, and " + why, Fix: fix})
			return why
		}
		a, claims, ok := t.assignment(o, w)
		if !ok {
			continue
		}
		a.Reason = reason
		id := t.newID(t.service.Name)
		t.do(cluster.EventPlaced, t.service.Name, fmt.Sprintf("instance %s on node %s%s: %s", id, o.node, t.origin(o.node), reason), cluster.Assign{Node: o.node, ID: id, Assignment: a, Claims: claims})
		return ""
	}
}

// assignment is one more instance in a room, and the ports that it claims; false where no port is left.
func (t *team) assignment(o *room, w cluster.Wanted) (a cluster.Assignment, claims []uint16, ok bool) {
	ports, claims, ok := t.claim(o, t.service)
	if !ok {
		o.full[t.service.Name] = true // another service may need fewer
		return a, nil, false
	}
	a = cluster.Assignment{
		Service: t.service.Name, Address: o.launcher.Address, Ports: ports, Wanted: w, Version: t.version, Since: t.Now,
	}
	describe(&a, t.service)
	t.fill(o, a)
	return a, claims, true
}

// shrink takes out those that are too many.
func (t *team) shrink() {
	var serving, standby []loadmon.Member
	byID := map[string]*member{}
	for _, m := range t.staying {
		byID[m.id] = m
		if m.standby() {
			standby = append(standby, t.loadmonMember(m))
		} else {
			serving = append(serving, t.loadmonMember(m))
		}
	}
	for _, id := range loadmon.Victims(standby, len(standby)-t.warm()) {
		t.round.want(byID[id], cluster.WantStopped, standBy(t.warm()))
	}
	// Who is ready is taken out only when enough others are.
	spare := t.spare()
	for _, id := range loadmon.Victims(serving, len(serving)-t.want) {
		m := byID[id]
		if m.ready() {
			if spare <= 0 {
				continue
			}
			spare--
		}
		t.round.want(m, cluster.WantDrained, wanted(t.want))
	}
}

// replace takes out those that should go, as far as there are substitutes. One that is not well takes no connections: it
// goes also where there is no room for another, since what it leaves is room.
func (t *team) replace() {
	spare, full, unwell := t.spare(), t.ready(t.staying) >= t.want, 0
	for _, m := range t.leaving {
		switch {
		case m.standby():
			if t.standingBy() >= t.warm() {
				t.round.want(m, cluster.WantStopped, m.leaving)
			}
			continue
		case m.ready():
			if spare <= 0 {
				continue
			}
			spare--
		case m.phase() == cluster.PhaseReady:
			if unwell++; unwell > mostReplaced || !full && !t.cramped {
				continue
			}
		}
		t.round.want(m, cluster.WantDrained, m.leaving)
	}
}

// standingBy is how many stand by and could serve at once.
func (t *team) standingBy() (n int) {
	for _, m := range t.staying {
		if m.standby() && m.ready() {
			n++
		}
	}
	return n
}

// ready is how many serve or could; those that stand by do not count.
func (t *team) ready(members []*member) (n int) {
	for _, m := range members {
		if m.ready() && m.assignment.Wanted == cluster.WantServing {
			n++
		}
	}
	return n
}

// spare is how many more are ready than are wanted.
func (t *team) spare() int { return t.ready(t.staying) + t.ready(t.leaving) - t.want }

// wanted and standBy are reasons.
func wanted(n int) string { return are(n) + " wanted" }

func standBy(n int) string { return are(n) + " to stand by" }

func are(n int) string {
	if n == 1 {
		return "1 is"
	}
	return fmt.Sprintf("%d are", n)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Version of how a service is run: instances of another one are replaced.
func Version(s *cluster.Service) string {
	run := *s.Run
	run.Grace, run.Drain, run.Nodes = 0, 0, nil // these say nothing to an instance that runs
	names := make([]string, len(s.Ports))
	for i, p := range s.Ports {
		names[i] = p.Name
	}
	text, err := json.Marshal([]any{run, names})
	if err != nil {
		panic(err) // it was read from JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}
