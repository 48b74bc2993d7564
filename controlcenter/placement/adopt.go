package placement

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// adopt takes up instances that run on a node and are assigned to nobody, as after the store was wiped or the node forgotten.
// One that takes connections becomes an instance like others, so that those that are too many go as they always do; any
// other one is stopped. It says of which services there were some: in this round nothing else is decided about these.
func (r *round) adopt() map[string]bool {
	busy := map[string]bool{}
	for _, node := range slices.Sorted(maps.Keys(r.Operations.Launched)) {
		for _, id := range slices.Sorted(maps.Keys(r.Operations.Launched[node])) {
			l := r.Operations.Launched[node][id]
			if _, assigned := r.Operations.Assigned[node][id]; assigned || l.Phase == cluster.PhaseStopped || l.Phase == cluster.PhaseRefused || !r.launching(node) {
				continue
			}
			busy[l.Service] = true
			a := cluster.Assignment{Service: l.Service, Wanted: cluster.WantStopped, Version: l.Version, Reason: "nobody knows why it runs", Since: r.Now}
			claims := r.recognize(node, id, &a)
			r.do(cluster.EventPlaced, l.Service, fmt.Sprintf("instance %s on node %s was assigned to nobody: %s", id, node, a.Wanted), cluster.Assign{Node: node, ID: id, Assignment: a, Claims: claims})
		}
	}
	return busy
}

// recognize fills in what is known of an instance that takes connections, and returns the ports that are to be claimed.
func (r *round) recognize(node, id string, a *cluster.Assignment) (claims []uint16) {
	in, published := r.Snapshot.Services.Get(a.Service)
	state := r.statesOf(a.Service)[id]
	if !published || in.Service.Run == nil || state == nil || state.Node != node {
		return nil
	}
	a.Run, a.Check, a.Address, a.Ports = *in.Service.Run, in.Service.Check, state.Instance.Addr, state.Instance.Ports
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
	return claims
}
