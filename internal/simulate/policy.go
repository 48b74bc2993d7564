package simulate

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/rules"
)

// Policies are the ways to balance that are compared: equal weights, the true speeds as weights, and the law.
var Policies = []cluster.Balance{cluster.BalanceUniform, cluster.BalanceStatic, cluster.BalanceAdaptive}

const (
	serviceName = "simulated"
	node        = "n1"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// balancer draws an instance for each new connection, by the slots that a node's kernel would hold.
type balancer struct {
	service *cluster.Service
	slots   []int // the instance of each

	state  loadmon.State
	shares []float64
	writes []write
}

// write is one that the leader would have made.
type write struct {
	at     float64
	shares []float64
}

func newBalancer(policy cluster.Balance, s Scenario) *balancer {
	service := &cluster.Service{
		Name: serviceName, VIPs: []netip.Addr{netip.MustParseAddr("10.10.0.1")}, Balance: policy,
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, CreateRevision: 1, ModRevision: 1,
	}
	top := slices.Max(s.Speeds)
	for i, speed := range s.Speeds {
		weight := 1
		if policy == cluster.BalanceStatic {
			weight = max(1, int(math.Round(speed/top*cluster.MaxWeight)))
		}
		service.Instances = append(service.Instances, cluster.Instance{
			ID: id(i), Addr: netip.AddrFrom4([4]byte{192, 168, 0, byte(i + 1)}), Port: 80, Weight: weight,
		})
	}
	b := &balancer{service: service}
	b.install(nil)
	return b
}

func id(i int) string { return fmt.Sprintf("i%03d", i+1) }

// install takes the way of every change: snapshot, Build, slots.
func (b *balancer) install(weights *cluster.Weights) {
	draft := cluster.NewDraft()
	draft.Service(serviceName, b.service)
	draft.Weights(serviceName, weights)
	ruleset := rules.Build(nil, draft.Snapshot(1), rules.Options{})
	built, ok := ruleset.Balancers.Get(b.service.Frontends()[0])
	if !ok {
		panic("the service has no balancer")
	}
	b.slots, b.shares = b.slots[:0], make([]float64, len(b.service.Instances))
	for _, share := range built.Shares {
		i := int(share.Target.Addr().As4()[3]) - 1
		for range share.Slots {
			b.slots = append(b.slots, i)
		}
		b.shares[i] = float64(share.Slots) / float64(built.Slots())
	}
}

// draw chooses by a number in [0, 1).
func (b *balancer) draw(r float64) int { return b.slots[int(r*float64(len(b.slots)))] }

// decide lets the leader see the newest reports.
func (b *balancer) decide(now float64, measured map[string]loadmon.Measured) {
	in := loadmon.Input{Service: serviceName, Now: at(now), Measured: measured, Policy: loadmon.DefaultPolicy()}
	for _, i := range b.service.Instances {
		in.Instances = append(in.Instances, loadmon.Candidate{ID: i.ID, Weight: i.Weight})
	}
	next, decision := loadmon.Weights(b.state, in)
	if b.state = next; decision.Write {
		b.install(decision.Weights())
		b.writes = append(b.writes, write{now, wanted(decision, len(b.shares))})
	}
}

// wanted are the shares as decided: those of the slots are rounded.
func wanted(d loadmon.Decision, n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(d.Shares[id(i)]) / loadmon.Whole
	}
	return out
}

func at(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * float64(time.Second))) }
