package loadmon

import (
	"maps"
	"math"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// service is instances that do what their true capacities let them, and the leader that watches them.
type service struct {
	state    State
	policy   Policy
	now      time.Time
	uptime   time.Duration
	capacity map[string]float64 // connections/s at busy 1
	rate     float64            // connections/s of all
	loads    map[string]Measured
	decision Decision
}

func newService(capacity map[string]float64) *service {
	s := &service{policy: DefaultPolicy(), now: noon, uptime: time.Hour, capacity: capacity, loads: map[string]Measured{}}
	for _, c := range capacity {
		s.rate += 0.6 * c
	}
	return s
}

func (s *service) candidates() (out []Candidate) {
	for id := range s.capacity {
		out = append(out, Candidate{ID: id, Weight: 1})
	}
	return out
}

func (s *service) decide() Decision {
	s.state, s.decision = Weights(s.state, Input{Service: "a", Now: s.now, Instances: s.candidates(), Measured: maps.Clone(s.loads), Policy: s.policy})
	return s.decision
}

// step lets an interval pass; edit may falsify what an instance reports.
func (s *service) step(edit ...func(id string, m *Measured)) Decision {
	s.now, s.uptime = s.now.Add(Interval), s.uptime+Interval
	for id, capacity := range s.capacity {
		share := 1 / float64(len(s.capacity))
		if s.decision.Shares != nil {
			share = float64(s.decision.Shares[id]) / Whole
		}
		m := s.loads[id]
		m.Load.Service, m.Load.Instance, m.Node = "a", id, "n1"
		m.Connections += uint64(math.Round(s.rate * share * Interval.Seconds()))
		m.Busy, m.Active = min(s.rate*share/capacity, 1), 3
		m.At, m.Uptime = s.now, s.uptime
		s.loads[id] = m
	}
	sent := maps.Clone(s.loads)
	for id, m := range sent {
		for _, e := range edit {
			e(id, &m)
		}
		sent[id] = m
	}
	true := s.loads
	s.loads = sent
	d := s.decide()
	s.loads = true
	return d
}

func (s *service) steps(n int) {
	for range n {
		s.step()
	}
}

func total(shares map[string]int) (n int) {
	for _, share := range shares {
		n += share
	}
	return n
}
