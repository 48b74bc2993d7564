package placement

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// adopt takes up instances that run on a node and are assigned to nobody, as after the store was wiped or the node forgotten.
// One that takes connections becomes an instance like others, so that those that are too many go as they always do. One of
// which nobody knows where it is reached goes once others serve in its place, and those of a service that is not published
// when somebody withdraws it. It says of which services there were some to take up: in this round nothing else is decided
// about these.
func (r *round) adopt(members map[string][]*member) map[string]bool {
	busy, orphans := map[string]bool{}, map[string]int{}
	before := r.state.unreached
	r.state.unreached = map[instanceKey]time.Time{}
	for _, node := range slices.Sorted(maps.Keys(r.Operations.Launched)) {
		for _, id := range slices.Sorted(maps.Keys(r.Operations.Launched[node])) {
			l := r.Operations.Launched[node][id]
			if _, assigned := r.Operations.Assigned[node][id]; assigned || l.Over() || !r.launching(node) {
				continue
			}
			if l.Kind == cluster.KindNode {
				r.adoptMachine(node, id, l)
				continue
			}
			a := cluster.Assignment{Service: l.Service, Wanted: cluster.WantStopped, Version: l.Version, Reason: "nobody knows why it runs", Since: r.Now}
			claims, known := r.recognize(node, id, &a)
			_, published := r.Snapshot.Services.Get(l.Service)
			switch {
			case known || r.Operations.Scaled[l.Service].Withdrawn:
			case !published:
				orphans[l.Service]++
				continue
			case l.Phase == cluster.PhaseReady && r.moment(instanceKey{node, id}, before):
				busy[l.Service] = true
				continue
			case !r.replaceable(l.Service, members[l.Service]):
				continue
			}
			busy[l.Service] = true
			r.do(cluster.EventPlaced, l.Service, fmt.Sprintf("instance %s on node %s was assigned to nobody: %s", id, node, a.Wanted), cluster.Assign{Node: node, ID: id, Assignment: a, Claims: claims})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(orphans)) {
		r.orphaned(name, orphans[name])
	}
	return busy
}

// moment says whether it may soon be known where a ready instance is reached: that was written before that it is ready. Of a
// launcher's word that outlived the instance, as on a node that came back empty, it never is.
func (r *round) moment(k instanceKey, before map[instanceKey]time.Time) bool {
	since, seen := before[k]
	if !seen {
		since = r.Now
	}
	r.state.unreached[k] = since
	return r.Now.Sub(since) < unreachedFor
}

// replaceable says whether as many instances as are wanted are ready.
func (r *round) replaceable(name string, members []*member) bool {
	ready := 0
	for _, m := range members {
		if m.ready() && m.assignment.Wanted == cluster.WantServing {
			ready++
		}
	}
	return ready >= r.Want[name]
}

// adoptMachine takes up a machine: instances may run there. If none does, it goes back as any other.
func (r *round) adoptMachine(node, id string, l cluster.Launched) {
	a := cluster.Assignment{
		Kind: cluster.KindNode, For: l.For, Run: cluster.Run{Driver: cluster.DriverHook}, Wanted: cluster.WantServing,
		Version: string(cluster.KindNode), Reason: "it is there already", Since: r.Now,
	}
	r.tell(cluster.EventAcquired, a, fmt.Sprintf("node %s, from the hook of node %s, was assigned to nobody and stays", id, node), cluster.Assign{Node: node, ID: id, Assignment: a})
}

// recognize fills in what is known of an instance that takes connections, and returns the ports that are to be claimed.
func (r *round) recognize(node, id string, a *cluster.Assignment) (claims []uint16, known bool) {
	in, published := r.Snapshot.Services.Get(a.Service)
	state := r.statesOf(a.Service)[id]
	if !published || in.Service.Run == nil || state == nil || state.Node != node {
		return nil, false
	}
	describe(a, in.Service)
	a.Address, a.Ports = state.Instance.Addr, state.Instance.Ports
	if state.Instance.Port != 0 {
		a.Ports = map[string]uint16{"": state.Instance.Port}
	}
	a.Wanted, a.Reason = cluster.WantServing, "it runs already"
	for _, port := range a.Ports {
		if r.claimable(node, port) {
			claims = append(claims, port)
		}
	}
	slices.Sort(claims)
	return claims, true
}
