package top

import (
	"math"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

func (b *Board) services(s Scene) []Service {
	before := b.resolved
	b.resolved = make(map[string]resolved, len(before))
	out := []Service{}
	for name, in := range s.Snapshot.Services.All() {
		r := before[name]
		if r.in != in {
			r = resolve(in)
		}
		b.resolved[name] = r
		out = append(out, r.service(s))
	}
	slices.SortFunc(out, byName)
	return out
}

func (r resolved) service(s Scene) Service {
	out := Service{
		Name: r.row.Name, Status: r.row.Status, Balance: r.row.Balance, Taking: r.row.Taking, Problems: len(r.Problems),
		Instances: make([]Instance, len(r.Instances)),
	}
	for i, state := range r.Instances {
		out.Instances[i] = Instance{
			ID: state.Instance.ID, Node: state.Node, State: state.Status, Reason: state.Reason, Since: state.Since, Weight: state.Weight,
			By: r.in.WeightBy(state.Instance), Figures: s.Past.figures(state.Node, id{out.Name, state.Instance.ID}, s.Now),
		}
	}
	for _, v4 := range []bool{true, false} {
		r.shares(out.Instances, v4)
	}
	if l := r.Service.Locality; l == "" || l == cluster.LocalityNone {
		out.drift()
	}
	out.add()
	return out
}

// shares fills in what each instance of an address family should get and got: connections to an IPv4 VIP can only go to
// IPv4 instances. While one that takes connections is not measured, nothing is known of the shares of the others.
func (r resolved) shares(instances []Instance, v4 bool) {
	weights, rates, known := 0, 0.0, true
	for i, state := range r.Instances {
		if state.Instance.Addr.Is4() != v4 {
			continue
		}
		weights += state.Weight
		if rate := instances[i].NewPerS; rate != nil {
			rates += *rate
		} else if state.Takes() {
			known = false
		}
	}
	for i, state := range r.Instances {
		if state.Instance.Addr.Is4() != v4 {
			continue
		}
		if weights > 0 {
			instances[i].Want = 100 * float64(state.Weight) / float64(weights)
		}
		if rate := instances[i].NewPerS; known && rates > 0 && rate != nil {
			have := 100 * *rate / rates
			instances[i].Have = &have
		}
	}
}

func (s *Service) drift() {
	for i := range s.Instances {
		inst := &s.Instances[i]
		if inst.Have == nil {
			continue
		}
		drift := *inst.Have - inst.Want
		inst.Drift = &drift
		if worst := math.Abs(drift); s.Drift == nil || worst > *s.Drift {
			s.Drift = &worst
		}
	}
}

// add makes the service's figures of those of its instances. An instance that takes nothing is no part of the means.
func (s *Service) add() {
	var busy, latency mean
	for _, i := range s.Instances {
		s.NewPerS, s.Active = plus(s.NewPerS, i.NewPerS), plus(s.Active, i.Active)
		if i.Weight > 0 {
			busy.add(i.Busy)
			latency.add(i.LatencyMS)
		}
	}
	s.Busy, s.LatencyMS = busy.value(), latency.value()
}

type mean struct{ sum, n float64 }

func (m *mean) add(v *float64) {
	if v != nil {
		m.sum, m.n = m.sum+*v, m.n+1
	}
}

func (m mean) value() *float64 {
	if m.n == 0 {
		return nil
	}
	v := m.sum / m.n
	return &v
}
