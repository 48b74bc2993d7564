package agent

import (
	"net/netip"

	"github.com/weir-lb/weir/cluster"
)

// departures knows the instances that take no new connections, by the ways that connections to them may have been sent:
// those of the snapshot, and those that were removed from it while we watched. Only TCP: a connection of it goes on where
// it began, while UDP is moved.
type departures struct {
	seen    cluster.Map[string, *cluster.Inputs]
	out     map[route]departed
	removed map[route]departed
}

// route is a way that a connection may have been sent.
type route struct {
	frontend cluster.Frontend
	target   netip.AddrPort
}

// departed is what is to be done about the live connections of an instance.
type departed struct {
	name    string // "service/instance id"
	counted bool   // an operator took it out, and may wait until they have ended
	dead    bool   // nobody is there to end them
}

func (d departed) out() bool { return d.counted || d.dead }

func newDepartures() *departures {
	return &departures{out: map[route]departed{}, removed: map[route]departed{}}
}

// any says whether anybody is out, or was removed with connections that may live.
func (d *departures) any() bool { return len(d.out)+len(d.removed) > 0 }

// update follows a newer snapshot and says whether it speaks of a departure. It costs what changed.
func (d *departures) update(services cluster.Map[string, *cluster.Inputs]) (touched bool) {
	for _, versions := range cluster.Changed(d.seen, services) {
		before, after := routesOf(versions[0]), routesOf(versions[1])
		for r, was := range before {
			if _, still := after[r]; !still {
				d.removed[r] = departed{name: was.name, counted: true, dead: was.dead}
				touched = true
			}
			touched = touched || was.out()
			delete(d.out, r)
		}
		for r, is := range after {
			delete(d.removed, r)
			if is.out() {
				d.out[r], touched = is, true
			}
		}
	}
	d.seen = services
	return touched
}

// find says what departed on a way.
func (d *departures) find(r route) (departed, bool) {
	if out, ok := d.out[r]; ok {
		return out, true
	}
	removed, ok := d.removed[r]
	return removed, ok
}

// forget gives up the removed instances that no live connection leads to.
func (d *departures) forget(live map[route]bool) {
	for r := range d.removed {
		if !live[r] {
			delete(d.removed, r)
		}
	}
}

// routesOf are all ways to the instances of a service, whether they take new connections or not.
func routesOf(in *cluster.Inputs) map[route]departed {
	if in == nil {
		return nil
	}
	resolved, out := cluster.Resolve(in), map[route]departed{}
	for _, f := range resolved.Frontends {
		for _, port := range in.Service.Ports {
			if f.Proto != cluster.TCP || port.Protocol != f.Proto || port.Port != f.Port {
				continue
			}
			for _, s := range resolved.Instances {
				target, ok := s.Instance.Target(port)
				if ok && target.Addr().Is4() == f.VIP.Is4() && s.Status != cluster.Refused && s.Status != cluster.Duplicate {
					out[route{f, target}] = departure(in.Service.Name, s)
				}
			}
		}
	}
	return out
}

// departure judges one instance. Those that fail or are ejected may come back by themselves: nobody waits for their end.
func departure(service string, s cluster.State) departed {
	d := departed{name: service + "/" + s.Instance.ID}
	switch s.Status {
	case cluster.Draining, cluster.Standby, cluster.Weightless:
		d.counted = true
	case cluster.IsDead:
		d.dead = true
	}
	return d
}
