package placement

import (
	"fmt"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/loadmon"
)

// reserve is an instance that somebody else runs, and that stands by.
type reserve struct {
	state  cluster.State // as it would be if it were called
	called bool
	since  time.Time // called
}

func (v reserve) id() string { return v.state.Instance.ID }

// well says whether it takes connections like any other as soon as it is called.
func (v reserve) well() bool { return v.state.Status == cluster.Serving }

// callable says whether it may be called: what an operator says of it, and what its address or weight forbid, counts first.
func (v reserve) callable() bool {
	switch v.state.Status {
	case cluster.Draining, cluster.Standby, cluster.Weightless, cluster.Refused, cluster.Duplicate:
		return false
	}
	return true
}

// reserves are the instances of a service that stand by or were called, by id, and how many others are well.
func reserves(in *cluster.Inputs) (out []reserve, always int) {
	asked := *in
	asked.Called = everybody(in)
	for _, s := range cluster.Resolve(&asked).Instances {
		switch {
		case s.Instance.Standby:
			out = append(out, reserve{state: s, called: in.Called.Of(s.Instance.ID).Serving, since: in.Called.Of(s.Instance.ID).Since})
		case s.Status == cluster.Serving:
			always++
		}
	}
	return out, always
}

// everybody is called, to see who would be well.
func everybody(in *cluster.Inputs) *cluster.Called {
	out := map[string]cluster.Call{}
	for _, list := range [][]cluster.Instance{in.Service.Instances, in.Registered} {
		for _, i := range list {
			out[i.ID] = cluster.Call{Serving: true}
		}
	}
	return &cluster.Called{Instances: out}
}

// call has so many instances serve as are wanted, of a service that somebody else runs: those that always do, and as many
// of those that stand by as are missing. Of these the well ones are called first, and one that serves and is well is not
// exchanged for another. Who is let go takes no new connections; those that it has live on.
func (r *round) call(in *cluster.Inputs) {
	want, decided := r.Want[in.Service.Name]
	if !in.StandsBy() {
		if in.Called != nil { // nobody stands by any more
			r.uncall(in.Service.Name)
		}
		return
	}
	if !decided {
		return
	}
	pool, always := reserves(in)
	chosen := r.choose(in.Service.Name, pool, want-always)
	if len(chosen) < want-always {
		r.problems = append(r.problems, cluster.Problem{
			Object: named(in.Service.Name), Field: "instances", What: fmt.Sprintf("%s, and of those that stand by only %d may be called", wanted(want), len(chosen)),
			Fix: "list more with standby: true, or undrain some",
		})
	}
	r.announce(in, pool, chosen)
}

// uncall forgets who was called, of a service of which nobody stands by any more.
func (r *round) uncall(service string) {
	r.do("", "", "", cluster.SetCalled{Service: service}, seen("nobody stands by of "+service))
}

// seen has a write that changes what agents see move the barrier, too: then what it was is known to be seen.
func seen(reason string) cluster.Decision { return cluster.Acknowledge{Reason: reason} }

// choose picks who is to serve: who is well before who is not, then who does already, then by id. Too many of those that
// serve go as those of any service do.
func (r *round) choose(service string, pool []reserve, n int) map[string]bool {
	var groups [4][]reserve // well and called, well, called, others
	for _, v := range pool {
		if v.callable() {
			i := 3 - 2*truth(v.well()) - truth(v.called)
			groups[i] = append(groups[i], v)
		}
	}
	chosen := map[string]bool{}
	for _, group := range groups {
		room := min(max(n-len(chosen), 0), len(group))
		spare := []string{}
		if len(group) > 0 && group[0].called {
			spare = loadmon.Victims(r.callers(service, group), len(group)-room)
		} else {
			group = group[:room]
		}
		for _, v := range group {
			if !slices.Contains(spare, v.id()) {
				chosen[v.id()] = true
			}
		}
	}
	return chosen
}

// callers are reserves that were called, as Victims wants them.
func (r *round) callers(service string, group []reserve) (out []loadmon.Member) {
	for _, v := range group {
		out = append(out, loadmon.Member{ID: v.id(), Ready: v.well(), Current: true, Connections: r.open(service, v.id()), Age: r.Now.Sub(v.since)})
	}
	return out
}

// announce writes who is called and who is let go, where that is news.
func (r *round) announce(in *cluster.Inputs, pool []reserve, chosen map[string]bool) {
	want := r.Want[in.Service.Name]
	next := &cluster.Called{Instances: map[string]cluster.Call{}}
	out, said := cluster.Figures{}, [2][]string{}
	for _, v := range pool {
		before, serves := in.Called.Of(v.id()), chosen[v.id()]
		if before.Serving == serves {
			if !before.Since.IsZero() {
				next.Instances[v.id()] = before
			}
			continue
		}
		reason := wanted(want)
		if !serves && !v.well() {
			reason = "it is not well: " + v.state.Reason
		}
		if !serves && !v.callable() {
			reason = v.state.Reason
		}
		next.Instances[v.id()] = cluster.Call{Serving: serves, Reason: reason, Since: r.Now}
		out[v.id()] = map[string]float64{"called": float64(truth(serves))}
		said[truth(serves)] = append(said[truth(serves)], v.id())
	}
	if len(out) == 0 {
		return
	}
	r.do(cluster.EventCalled, in.Service.Name, fmt.Sprintf("%s%s%s", wanted(want), listing("; called ", said[1]), listing("; let go ", said[0])),
		cluster.SetCalled{Service: in.Service.Name, Called: next}, seen("instances of "+in.Service.Name+" are called"))
	e := &r.actions[len(r.actions)-1].Event
	e.In = cluster.Figures{"service": {"wanted": float64(want), "standby": float64(len(pool))}}
	e.Out = out
}

// listing names the first few.
func listing(before string, ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	slices.Sort(ids)
	return before + plain.Few(ids)
}
