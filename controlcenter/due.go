package controlcenter

import "github.com/weir-lb/weir/cluster"

// AllDue is how many instances should take new connections of each service of which leaders decide that, without deciding
// anything.
func AllDue(s *cluster.Snapshot, ops *cluster.Operations) map[string]int {
	out := map[string]int{}
	for name, in := range s.Services.All() {
		if decided(in) {
			scaled, there := ops.Scaled[name]
			out[name] = Due(in, scaled, there)
		}
	}
	return out
}

// Due is how many instances of a service should take new connections; scaled is what ops/scale says of it, if there is
// something.
func Due(in *cluster.Inputs, scaled cluster.Scaled, there bool) int {
	s := in.Service
	switch {
	case decided(in) && there && !scaled.Withdrawn && (scaled.Pinned || s.Scale != nil):
		return scaled.Replicas
	case s.Launched():
		return wanted(s, cluster.Scaled{}, 1)
	case in.StandsBy():
		all, always := in.Reserves()
		if s.Scale == nil {
			return always
		}
		return min(max(s.Scale.Min, always, 1), all)
	}
	n := 0
	for _, i := range cluster.Resolve(in).Instances {
		switch i.Status {
		case cluster.Draining, cluster.Standby, cluster.Weightless, cluster.Refused, cluster.Duplicate:
		default:
			n++
		}
	}
	return n
}

// decided says whether leaders decide how many instances of a service serve.
func decided(in *cluster.Inputs) bool { return in.Service.Launched() || in.StandsBy() }

// wanted is how many should serve of a launched service of which so many do: as the leader finds it, but that the load may
// always want as many as there are.
func wanted(s *cluster.Service, scaled cluster.Scaled, serving int) int {
	switch {
	case scaled.Pinned:
		return scaled.Replicas
	case s.Scale != nil:
		return min(max(serving, s.Scale.Min), s.Scale.Max)
	case s.Replicas != nil:
		return *s.Replicas
	}
	return 1
}
