package foreman

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// wish is how many instances of a service there should be, and who says so.
type wish struct {
	count      int
	by, reason string
}

func counts(wishes map[string]wish) map[string]int {
	out := make(map[string]int, len(wishes))
	for name, w := range wishes {
		out[name] = w.count
	}
	return out
}

// scaled is what is remembered of a service whose number follows its load.
type scaled struct {
	created int64     // the service's: another one of the same name begins anew
	at      time.Time // of the last decision
	again   time.Time // when to decide without news, since more will be permitted then; zero: it need not be
	heard   uint64    // the reports that the last decision was made of
	state   loadmon.ScaleState
	figures loadmon.State
}

// wants finds how many instances of each launched service there should be, and writes what the load made of it.
func (f *Foreman) wants(ctx context.Context, s *cluster.Snapshot, ops *cluster.Operations, m *misses) map[string]wish {
	out := map[string]wish{}
	for name, in := range s.Services.All() {
		if !in.Service.Launched() && !in.StandsBy() {
			continue
		}
		w, err := f.wish(ctx, in, ops)
		if m.note(name, err) {
			return nil
		}
		out[name] = w
	}
	for name := range f.scales {
		if in, ok := s.Services.Get(name); !ok || in.Service.Scale == nil {
			delete(f.scales, name)
		}
	}
	return out
}

// wish is how many instances of one service there should be, also where that could not be written.
func (f *Foreman) wish(ctx context.Context, in *cluster.Inputs, ops *cluster.Operations) (wish, error) {
	name := in.Service.Name
	written, there := ops.Scaled[name]
	if written.Withdrawn { // of one of the same name, before this
		written, there = cluster.Scaled{ModRevision: written.ModRevision}, false
	}
	switch {
	case there && written.Pinned:
		w := wish{written.Replicas, "operator", written.Reason}
		if _, wake := ops.Wakes[name]; wake { // it is answered by the operator, and must not wake the service when that is over
			return w, f.write(ctx, cluster.ClearWake{Service: name})
		}
		return w, nil
	case in.Service.Scale != nil:
		return f.scale(ctx, in, written, there, ops)
	}
	return asFile(in), nil
}

// asFile is how many the service's file says, where the load says nothing.
func asFile(in *cluster.Inputs) wish {
	switch {
	case in.Service.Replicas != nil:
		return wish{*in.Service.Replicas, "file", ""}
	case !in.Service.Launched():
		_, always := in.Reserves()
		return wish{always, "file", "nothing is said of how many"}
	}
	return wish{1, "file", "nothing is said of replicas"}
}

// scale lets the load decide whenever there is something new to decide from; in between what was decided stays. A number that is not
// written changes no memory, or what was never added would count as growth.
func (f *Foreman) scale(ctx context.Context, in *cluster.Inputs, written cluster.Scaled, there bool, ops *cluster.Operations) (wish, error) {
	name, now := in.Service.Name, time.Now()
	m := f.scales[name]
	if m == nil || m.created != in.Service.CreateRevision {
		m = &scaled{created: in.Service.CreateRevision}
		f.scales[name] = m
	}
	policy := policyOf(in)
	if !there {
		written.Replicas = max(policy.Min, 1, min(present(in, ops), policy.Max))
	}
	_, wake := ops.Wakes[name]
	heard, asked := f.heard.Load(), listen(name, ops, written, now)
	if there && len(asked.news) == 0 && !m.due(now, heard, f.c.Interval) && !(wake && written.Replicas == 0) {
		return wish{written.Replicas, written.By, written.Reason}, nil
	}
	before := *m
	m.at, m.heard = now, heard
	ready, measured := f.ready(in), f.c.Measured()[name]
	m.figures, _ = loadmon.Weights(m.figures, loadmon.Input{Service: name, Now: now, Instances: candidates(ready), Measured: measured, Policy: loadmon.DefaultPolicy()})
	state, d := loadmon.Scale(m.state, loadmon.ScaleInput{
		Now: now, Desired: written.Replicas, Ready: ready, Figures: m.figures.Figures(), Asks: asked.asks, Wake: wake, Policy: policy,
	})
	m.state, m.again = state, time.Time{}
	if d.Again > 0 {
		m.again = now.Add(d.Again)
	}
	if there && d.Want == written.Replicas && !wake && len(asked.news) == 0 {
		return wish{written.Replicas, written.By, written.Reason}, nil
	}
	if err := f.writeScaled(ctx, name, d, written, wake, asked); err != nil {
		*m = before
		return wish{written.Replicas, written.By, written.Reason}, err
	}
	return wish{d.Want, d.By, d.Reason}, nil
}

// present is how many instances of a service serve, or are about to.
func present(in *cluster.Inputs, ops *cluster.Operations) int {
	if in.Service.Launched() {
		return running(in.Service.Name, ops)
	}
	_, n := in.Reserves()
	if in.Called != nil {
		for _, call := range in.Called.Instances {
			if call.Serving {
				n++
			}
		}
	}
	return n
}

// running is how many instances of a service are there: where nobody knows any more how many there should be, those.
func running(name string, ops *cluster.Operations) (n int) {
	for node, launched := range ops.Launched {
		for id, l := range launched {
			a, assigned := ops.Assigned[node][id]
			leaving := assigned && (a.Wanted == cluster.WantDrained || a.Wanted == cluster.WantStopped || a.Wanted == cluster.WantStandby)
			if l.Service == name && !leaving && (l.Phase == cluster.PhaseReady || l.Phase == cluster.PhaseStarting || l.Phase == cluster.PhaseCrashed) {
				n++
			}
		}
	}
	return n
}

// due says whether there are new reports, or more instances may be added by now. Without reports for two intervals it is
// decided as well: missing ones are missing then.
func (m *scaled) due(now time.Time, heard uint64, interval time.Duration) bool {
	return heard != m.heard || now.Sub(m.at) >= 2*interval || !m.again.IsZero() && !now.Before(m.again)
}

func (f *Foreman) writeScaled(ctx context.Context, name string, d loadmon.ScaleDecision, before cluster.Scaled, wake bool, asked asked) error {
	now := time.Now().UTC()
	next := cluster.Scaled{Replicas: d.Want, By: d.By, Reason: d.Reason, Since: now, ModRevision: before.ModRevision}
	event := cluster.Event{
		At: now, Service: name, What: cluster.EventScaled, Reason: asked.beside(d), By: f.c.Name,
		In:  cluster.Figures{"service": d.Numbers},
		Out: cluster.Figures{"service": {"from": float64(before.Replicas), "to": float64(d.Want)}},
	}
	moved := d.Want != before.Replicas
	if !moved {
		event.What = cluster.EventAsked
		event.Reason += fmt.Sprintf("; there stay %d", d.Want)
	}
	if !moved && before.ModRevision != 0 {
		next = before
	}
	next.Heard = asked.heard
	decisions := []cluster.Decision{cluster.SetScaled{Service: name, Scaled: &next}}
	if wake {
		decisions = append(decisions, cluster.ClearWake{Service: name})
	}
	if moved || len(asked.news) > 0 {
		decisions = append(decisions, event)
	}
	err := f.write(ctx, decisions...)
	if err == nil && (moved || len(asked.news) > 0) {
		f.c.Logger.Info(event.What, "service", name, "from", before.Replicas, "to", d.Want, "reason", event.Reason)
	}
	return err
}

// policyOf is what the service's file says. Of a list of instances there are no more than are listed, and those that do not
// stand by serve in any case.
func policyOf(in *cluster.Inputs) loadmon.ScalePolicy {
	p := loadmon.ScalePolicyOf(in.Service.Scale)
	if !in.Service.Launched() {
		all, always := in.Reserves()
		p.Min, p.Max = min(max(p.Min, always), all), max(min(p.Max, all), always)
	}
	return p
}

// ready are the instances that take new connections.
func (f *Foreman) ready(in *cluster.Inputs) (ids []string) {
	for _, s := range cluster.Resolve(in).Instances {
		if s.Takes() {
			ids = append(ids, s.Instance.ID)
		}
	}
	return ids
}

func candidates(ids []string) (out []loadmon.Candidate) {
	for _, id := range ids {
		out = append(out, loadmon.Candidate{ID: id, Weight: 1})
	}
	return out
}
