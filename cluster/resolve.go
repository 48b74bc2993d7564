package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Status is where Resolve put an instance.
type Status string

// The statuses. Only Serving, IsSuspect and Panic take new connections.
const (
	Serving    Status = "serving"
	IsSuspect  Status = "suspect"   // a check failed, and the next ones decide
	Panic      Status = "panic"     // failing, but used, because too many fail at once
	Refused    Status = "refused"   // its address may not be used
	Duplicate  Status = "duplicate" // another instance already has its id or address
	Draining   Status = "draining"  // an operator took it, or its node, out
	Standby    Status = "standby"   // kept ready, by an operator or until it is needed
	Weightless Status = "weight 0"  // its weight says so
	IsLeaving  Status = "leaving"   // it asks for no new connections itself
	IsDead     Status = "dead"      // its monitor, or its node's end, says so
	IsFailing  Status = "failing"   // its monitor says so
	Ejected    Status = "ejected"   // the leader says so
)

// State is what was decided about one instance, and why.
type State struct {
	Instance Instance
	Node     string // where it runs, "" when no node of ours is known to have its address
	Zone     string // its own label, else its node's; "" when neither says
	Status   Status
	Weight   int       // relative weight of new connections; 0 when it takes none
	Reason   string    // why it is not simply serving
	Since    time.Time // of the reason; zero when unknown
}

// Takes says whether new connections go there.
func (s State) Takes() bool { return s.Weight > 0 }

// Target is where a new connection is sent.
type Target struct {
	Address netip.AddrPort
	Weight  int // relative, positive
}

// Resolved is one service as every node must see it.
type Resolved struct {
	Service   *Service
	Instances []State    // sorted by instance id
	Frontends []Frontend // those that the service holds
	Problems  []Problem
	targets   map[Frontend][]Target
}

// Targets of one frontend, sorted by address.
func (r *Resolved) Targets(f Frontend) []Target { return r.targets[f] }

// Resolve decides who takes traffic. Each step sees only those that the steps before left in:
//
//	refused    address may not be used, id or address taken      out, a Problem
//	admin      drain, standby (unless called), node drain,       out
//	           weight 0
//	leaving    its own wish                                      out, down to none
//	dead       verdict, or the node is down                      out, down to none
//	failing    verdict                                           out, unless more than half of those not dead fail, or
//	                                                             are suspect since the same time: then it stays (panic),
//	                                                             a Problem
//	ejected    by the leader                                     out, at most a third, never the last; where more
//	                                                             than half fail, or are suspect, none of these
//
// The weight is the operator's, else the leader's, else the file's.
func Resolve(in *Inputs) *Resolved {
	r := &Resolved{Service: in.Service}
	r.Problems = append(append(r.Problems, in.complaints()...), in.shutOut()...)
	mean, all := in.mean(), in.all()
	r.Instances = make([]State, 0, len(all))
	for _, inst := range all {
		r.Instances = append(r.Instances, State{
			Instance: inst, Node: in.Hosts[inst.ID].Node, Zone: orElse(inst.Labels[ZoneLabel], in.Hosts[inst.ID].Zone),
			Status: Serving, Weight: in.weight(inst, mean),
		})
	}
	r.refuse(in)
	slices.SortStableFunc(r.Instances, func(a, b State) int { return a.Instance.Compare(b.Instance) })
	r.admin(in)
	r.leaving(in)
	r.dead(in)
	r.failing(in)
	r.eject(in)
	r.route(in)
	r.unchecked()
	return r
}

// all are the instances of the file, then the registered ones: what an operator wrote wins over what a node says.
func (in *Inputs) all() []Instance {
	return append(slices.Clip(slices.Clone(in.Service.Instances)), in.Registered...)
}

// complaints are the mistakes of the service itself. What the file's instances do wrong is said where they are refused.
func (in *Inputs) complaints() []Problem {
	object := "service " + in.Service.Name
	var out []Problem
	for i, vip := range in.Service.VIPs {
		if why := in.refuseVIP(vip); why != "" {
			out = append(out, Problem{object, fmt.Sprintf("vips[%d]", i), why, in.Config.vipFix(vip)})
		}
	}
	for _, f := range in.Service.Frontends() {
		if owner, ok := in.Lost[f]; ok {
			out = append(out, Problem{object, "vips", fmt.Sprintf("%s belongs to service %s, which is older", f, owner), "choose another VIP or port"})
		}
	}
	return out
}

// refuseVIP says why the service may not have a VIP, or "". The address of a node can be none: all its other ports would
// be refused.
func (in *Inputs) refuseVIP(vip netip.Addr) string {
	if node := in.HostVIPs[vip]; node != "" {
		return fmt.Sprintf("%s is the address of node %s: its other ports would be refused", vip, node)
	}
	return in.Config.RefuseVIP(vip)
}

// mean is over the instances that are there: shares of those that left would pull it.
func (in *Inputs) mean() int {
	if in.Weights == nil {
		return 1
	}
	sum, n := 0, 0
	for _, inst := range in.all() {
		if share, ok := in.Weights.Share[inst.ID]; ok {
			sum, n = sum+max(0, share), n+1
		}
	}
	return max(1, sum/max(1, n))
}

// out takes an instance out.
func (s *State) out(status Status, reason string, since time.Time) {
	s.Status, s.Weight, s.Reason, s.Since = status, 0, reason, since
}

// refuse goes in the order of all, so that a registered instance never displaces one of the file.
func (r *Resolved) refuse(in *Inputs) {
	object := "service " + in.Service.Name
	ids, addresses := map[string]bool{}, map[string]bool{}
	for i := range r.Instances {
		s := &r.Instances[i]
		status, why := Refused, in.Config.RefuseInstance(s.Instance.Addr, s.Instance.Node)
		fix := in.Config.instanceFix(s.Instance.Addr)
		name := s.Instance.ID
		switch {
		case why != "":
		case ValidID(name) != "": // publish refuses it, but a value may have been written past it
			why, fix, name = ValidID(name), "rename it", fmt.Sprintf("%q", clip(name))
		case in.VIPs[s.Instance.Addr]:
			why = fmt.Sprintf("%s is a VIP: traffic would circle", s.Instance.Addr)
		case ids[s.Instance.ID] || s.Instance.Port != 0 && addresses[s.Instance.Address()]:
			status, why, fix = Duplicate, "another instance has its id or address", "remove one of the two"
			ids[s.Instance.ID] = true // one id is one instance: what is said of an id must not change its meaning
		case i >= MaxInstances:
			why = fmt.Sprintf("a service has at most %d instances", MaxInstances)
			fix = "split the service"
		default:
			ids[s.Instance.ID], addresses[s.Instance.Address()] = true, true
			continue
		}
		s.out(status, why, time.Time{})
		r.Problems = append(r.Problems, Problem{object, "instance " + name, why, fix})
	}
}

func (r *Resolved) admin(in *Inputs) {
	for s := range r.in() {
		admin, host, call := in.Admin[s.Instance.ID], in.Hosts[s.Instance.ID].Admin, in.Called.Of(s.Instance.ID)
		if s.Instance.Standby && call.Serving {
			s.Reason, s.Since = "called"+because(call.Reason), call.Since
		}
		switch {
		case admin.Drain:
			s.out(Draining, orElse(admin.Reason, "drained by an operator"), admin.Since)
		case admin.Standby:
			s.out(Standby, orElse(admin.Reason, "standby by an operator"), admin.Since)
		case s.Instance.Draining:
			s.out(Draining, "its launcher takes it out", time.Time{})
		case s.Instance.Standby && !call.Serving:
			s.out(Standby, orElse(call.Reason, "it stands by until it is needed"), call.Since)
		case host != nil && host.Drain && !in.launches(s.Instance):
			s.out(Draining, fmt.Sprintf("node %s is drained%s", s.Node, because(host.Reason)), host.Since)
		case s.Weight == 0:
			s.out(Weightless, "its weight is 0", admin.Since)
		}
	}
	if in.weightless() {
		r.Problems = append(r.Problems, allWeightless("service "+in.Service.Name))
	}
}

// launches says whether the leader takes an instance off a drained node: one that it had launched, as soon as there is a
// substitute.
func (in *Inputs) launches(i Instance) bool { return i.Node != "" && in.Service.Run != nil }

// weightless says that nobody can be served because of how the service was written. Publish refuses that, but a value
// may have been written past it.
func (in *Inputs) weightless() bool {
	mean := in.mean()
	for _, inst := range in.Service.Instances {
		if inst.Weight > 0 || in.weight(inst, mean) > 0 {
			return false
		}
	}
	return len(in.Service.Instances) > 0 && len(in.Registered) == 0
}

func allWeightless(object string) Problem {
	return Problem{object, "instances", "all weights are 0, so nobody would be served", "give at least one instance a weight, or drain them instead"}
}

func (r *Resolved) leaving(in *Inputs) {
	for s := range r.in() {
		if h := in.Health[s.Instance.ID]; h.Verdict == Leaving {
			s.out(IsLeaving, orElse(h.Reason, "it asks for no new connections"), h.Since)
		}
	}
}

func (r *Resolved) dead(in *Inputs) {
	for s := range r.in() {
		h := in.Health[s.Instance.ID]
		if down := in.Hosts[s.Instance.ID].Down; down != nil {
			s.out(IsDead, fmt.Sprintf("node %s is down%s", s.Node, because(down.Reason)), down.Since)
		} else if h.Verdict == Dead {
			s.out(IsDead, orElse(h.Reason, "its monitor found it dead"), h.Since)
		}
	}
}

// eject takes out whom the leader wants out. Where more than half fail or may be failing, those are none of one instance's
// troubles: none of them is ejected.
func (r *Resolved) eject(in *Inputs) {
	if in.Weights == nil {
		return
	}
	left, ailing := 0, 0
	for s := range r.in() {
		if left++; s.Status != Serving {
			ailing++
		}
	}
	var asked []*State
	for s := range r.in() {
		if _, ok := in.Weights.Ejected[s.Instance.ID]; ok && (s.Status == Serving || 2*ailing <= left) {
			asked = append(asked, s)
		}
	}
	slices.SortStableFunc(asked, func(a, b *State) int {
		return in.Weights.Ejected[a.Instance.ID].Since.Compare(in.Weights.Ejected[b.Instance.ID].Since)
	})
	for _, s := range asked[:min(len(asked), left/3)] {
		e := in.Weights.Ejected[s.Instance.ID]
		s.out(Ejected, orElse(e.Reason, "ejected by the leader"), e.Since)
	}
}

// route lays out the targets of each frontend that the service holds.
func (r *Resolved) route(in *Inputs) {
	r.targets = map[Frontend][]Target{}
	for _, vip := range in.Service.VIPs {
		if in.refuseVIP(vip) != "" {
			continue
		}
		for _, port := range in.Service.Ports {
			f := Frontend{VIP: vip, Proto: port.Protocol, Port: port.Port}
			if _, lost := in.Lost[f]; lost {
				continue
			}
			r.Frontends = append(r.Frontends, f)
			r.targets[f] = r.targetsOf(vip, port, nil)
		}
	}
	r.unreached()
}

// unreached takes out the instances that no frontend of the service can lead to. Publish refuses them, but a value may
// have been written past it.
func (r *Resolved) unreached() {
	if len(r.Frontends) == 0 {
		return // then it is the service that has no frontend
	}
	for s := range r.in() {
		reached := slices.ContainsFunc(r.Frontends, func(f Frontend) bool { return r.leads(f, s.Instance) })
		if !reached {
			const why = "no VIP of its address family has a port that it gives a number for, so nothing leads to it"
			s.out(Refused, why, time.Time{})
			r.Problems = append(r.Problems, Problem{"service " + r.Service.Name, "instance " + s.Instance.ID, why, "add a VIP of that family, or give the instance its port"})
		}
	}
}

func (r *Resolved) portOf(f Frontend) Port {
	i := slices.IndexFunc(r.Service.Ports, func(p Port) bool { return p.Port == f.Port && p.Protocol == f.Proto })
	return r.Service.Ports[i]
}

func (r *Resolved) leads(f Frontend, inst Instance) bool {
	return slices.ContainsFunc(r.Service.Ports, func(p Port) bool {
		address, ok := inst.Target(p)
		return ok && p.Port == f.Port && p.Protocol == f.Proto && address.Addr().Is4() == f.VIP.Is4()
	})
}

// targetsOf are the targets behind one port; only those that are wanted, unless that is nil.
func (r *Resolved) targetsOf(vip netip.Addr, port Port, wanted func(*State) bool) []Target {
	var out []Target
	for s := range r.in() {
		if wanted != nil && !wanted(s) {
			continue
		}
		if address, ok := s.Instance.Target(port); ok && vip.Is4() == address.Addr().Is4() {
			out = append(out, Target{address, s.Weight})
		}
	}
	slices.SortFunc(out, func(a, b Target) int { return a.Address.Compare(b.Address) })
	return out
}

// in yields the instances that no step has taken out so far.
func (r *Resolved) in() func(func(*State) bool) {
	return func(yield func(*State) bool) {
		for i := range r.Instances {
			s := &r.Instances[i]
			switch s.Status {
			case Serving, IsSuspect, Panic:
				if !yield(s) {
					return
				}
			}
		}
	}
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
