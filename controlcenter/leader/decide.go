package leader

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// memory is what is known of one service from one round to the next.
type memory struct {
	created  int64 // the service's: another one of the same name begins anew
	mode     mode
	state    loadmon.State
	weights  *cluster.Weights // as they are stored, or will be when the watch has seen the write
	tried    *cluster.Weights // of a write that failed: etcd may have taken it all the same
	revision int64            // of the last write
	last     loadmon.Decision
	lastAt   time.Time // when weights were written last by this leader
}

// recall is the memory of a service. It begins with the stored weights, and so it does when somebody else changed them.
func (b *balance) recall(l ledService, revision int64) *memory {
	m := b.remembered[l.name()]
	switch {
	case m == nil || m.created != l.in.Service.CreateRevision || m.mode != l.mode:
		m = &memory{created: l.in.Service.CreateRevision, mode: l.mode, weights: l.in.Weights, state: loadmon.Resume(l.in.Weights)}
	case revision < m.revision: // the watch has not seen the last write yet
	case same(m.weights, l.in.Weights):
	case m.tried != nil && same(m.tried, l.in.Weights):
		m.weights = m.tried
	default:
		b.log.Info("somebody else changed the weights: going on from these", "service", l.name())
		m.weights, m.state = l.in.Weights, loadmon.Resume(l.in.Weights)
	}
	b.remembered[l.name()] = m
	return m
}

func same(a, b *cluster.Weights) bool {
	if a == nil || b == nil {
		return a == b
	}
	return maps.Equal(a.Share, b.Share) && maps.EqualFunc(a.Ejected, b.Ejected, func(x, y cluster.Ejection) bool {
		return x.Reason == y.Reason && x.Since.Equal(y.Since)
	})
}

// decide moves the weights of one service, if it is time to.
func (b *balance) decide(ctx context.Context, l ledService, m *memory, measured map[string]loadmon.Measured) ([]cluster.Problem, error) {
	if l.mode == none {
		return nil, b.takeBack(ctx, l, m)
	}
	if !l.decides() {
		m.last = loadmon.Decision{Reason: fmt.Sprintf("%d instances may take traffic: nothing to share", len(l.candidates))}
		return nil, nil
	}
	law := loadmon.Weights
	if l.mode == obeys {
		law = loadmon.Wishes
	}
	next, d := law(m.state, loadmon.Input{Service: l.name(), Now: time.Now(), Instances: l.candidates, Measured: measured, Policy: l.policy()})
	m.last = d
	b.metrics.decided(d)
	weights := toWrite(l, m, d)
	if weights == nil {
		m.state = next
		return d.Problems, nil
	}
	if err := b.put(ctx, l, m, weights, event(l, m.weights, d)); err != nil {
		return d.Problems, err // the state stays, so that the next round decides the same again
	}
	m.state = next
	return d.Problems, nil
}

// toWrite is what agents should be told, nil when they know it. A service without stored weights has those of its file,
// which an operator may change at any time.
func toWrite(l ledService, m *memory, d loadmon.Decision) *cluster.Weights {
	switch {
	case m.weights == nil && asFile(l, d):
		return nil
	case d.Write:
		return d.Weights()
	case m.weights == nil:
		return &cluster.Weights{Share: d.Shares, Ejected: d.Ejected}
	}
	return nil
}

// takeBack removes the weights of a service that does not follow its load any more.
func (b *balance) takeBack(ctx context.Context, l ledService, m *memory) error {
	if m.weights == nil {
		return nil
	}
	m.last = loadmon.Decision{Reason: fmt.Sprintf("balance is %s: the weights are those of the file", balanceOf(l.in.Service))}
	return b.put(ctx, l, m, nil, taken(l, m.weights, m.last.Reason))
}

func balanceOf(s *cluster.Service) cluster.Balance {
	if s.Balance == "" {
		return cluster.BalanceStatic
	}
	return s.Balance
}

// put writes weights and their event, unless an operator said something since the round began.
func (b *balance) put(ctx context.Context, l ledService, m *memory, w *cluster.Weights, e cluster.Event) error {
	e.At, e.By = time.Now().UTC().Truncate(time.Millisecond), b.config.Name
	revision, err := b.Write(ctx, cluster.SetWeights{Service: l.name(), Weights: w}, e, b.asOf)
	if err != nil {
		m.tried = w
		return fmt.Errorf("write the weights of service %s: %w", l.name(), err)
	}
	b.progress(time.Now())
	m.weights, m.tried, m.revision, m.lastAt = w, nil, revision, e.At
	b.log.Info("weights written", "service", l.name(), "revision", revision, "reason", e.Reason)
	return nil
}

// asFile says whether nothing was decided that the file does not say already: then it need not be written.
func asFile(l ledService, d loadmon.Decision) bool {
	if len(d.Ejected) > 0 {
		return false
	}
	sum := 0
	for _, c := range l.candidates {
		sum += c.Weight
	}
	for _, c := range l.candidates {
		if diff := d.Shares[c.ID] - c.Weight*loadmon.Whole/sum; diff < -1 || diff > 1 {
			return false
		}
	}
	return true
}
