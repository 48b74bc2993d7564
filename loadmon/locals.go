package loadmon

import (
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// Local is an instance on this node, and where it listens.
type Local struct {
	Service, Instance string
	Listeners         []cluster.Listener
}

// Locals are the instances that a node's monitor looks after, in the order of services and ids.
func Locals(snapshot *cluster.Snapshot, node string) (out []Local) {
	for _, in := range snapshot.Services.All() {
		out = append(out, LocalsOf(in, node)...)
	}
	slices.SortFunc(out, Local.Compare)
	return out
}

// LocalsOf are those of one service.
func LocalsOf(in *cluster.Inputs, node string) (out []Local) {
	if node == "" {
		return nil
	}
	for _, s := range cluster.Resolve(in).Instances {
		if s.Node != node || s.Status == cluster.Refused || s.Status == cluster.Duplicate {
			continue
		}
		l := Local{Service: in.Service.Name, Instance: s.Instance.ID}
		for _, port := range in.Service.Ports {
			if address, ok := s.Instance.Target(port); ok {
				l.Listeners = append(l.Listeners, cluster.Listener{Address: address, Proto: port.Protocol})
			}
		}
		slices.SortFunc(l.Listeners, cluster.Listener.Compare)
		l.Listeners = slices.Compact(l.Listeners) // several ports of a service may lead to one of the instance
		out = append(out, l)
	}
	return out
}

// Compare orders instances by service, then id.
func (l Local) Compare(m Local) int {
	return slices.Compare([]string{l.Service, l.Instance}, []string{m.Service, m.Instance})
}
