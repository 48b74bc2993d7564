package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// Of measureBalance. The weights of static are true: the quotas are 30, 20, 10 and 10 % of a processor.
var balanceWeights = []int{3, 2, 1, 1}

const (
	balanceUnit = 0.1                  // processors for each part of a weight
	balanceWork = 2 * time.Millisecond // of processor time for each connection
	balanceLoad = 0.55                 // of what the instances can do together
	balanceSeed = 1
)

// measureBalance sends the same connections, at the same times, to four instances of unequal quotas under each policy. In
// the second half another process runs inside the quota of one of them.
func measureBalance(t *trial) {
	b := newStage(t)
	outcomes := map[cluster.Balance]*outcome{}
	for _, policy := range []cluster.Balance{cluster.BalanceUniform, cluster.BalanceStatic, cluster.BalanceAdaptive} {
		o := b.play(t, policy)
		outcomes[policy] = o
		t.report(o.before.row(string(policy)+", before the hog"), o.after.row(string(policy)+", with the hog"))
		for _, d := range o.decisions {
			t.Logf("  %s %s", d.At.Format(time.TimeOnly), d.Reason)
		}
	}
	t.report(writes(outcomes[cluster.BalanceAdaptive]))
	t.report(verdicts(outcomes[cluster.BalanceStatic], outcomes[cluster.BalanceAdaptive])...)
}

// stage is the cluster of measureBalance: four nodes with an instance each, and a fifth that the client runs on.
type stage struct {
	world      *integration.World
	warm, half time.Duration
	due        []time.Duration
	nodes      []*lab.Host
	client     *lab.Host
}

func newStage(t *trial) *stage {
	s := &stage{warm: pick(t, 60*time.Second, 40*time.Second), half: pick(t, 60*time.Second, 30*time.Second)}
	s.world = integration.NewWorld(t, integration.Options{
		Program: t.o.program, Etcd: t.o.etcd, Nodes: len(balanceWeights) + 1, AgentArgs: integration.LoadsForAll,
	})
	s.world.StartControlCenters(1)
	s.nodes, s.client = s.world.Nodes[:len(balanceWeights)], s.world.Nodes[len(balanceWeights)]
	sum := 0
	for _, w := range balanceWeights {
		sum += w
	}
	rate := balanceLoad * float64(sum) * balanceUnit / balanceWork.Seconds()
	s.due = lab.PoissonArrivals(balanceSeed, rate, s.warm+2*s.half)
	return s
}

// cast are the instances of one play.
type cast struct {
	workers []*lab.Worker
	groups  []*lab.Cgroup
	quotas  []float64
}

func (s *stage) hire(t *trial, policy cluster.Balance) (c cast, service *cluster.Service) {
	var addresses []string
	for i, weight := range balanceWeights {
		quota := float64(weight) * balanceUnit
		group, err := s.world.Lab.Cgroup(fmt.Sprintf("%s-%d", policy, i), quota)
		t.must(err)
		address := fmt.Sprintf("%s:%d", s.nodes[i].Addr4, instancePort)
		work := lab.Work{ID: fmt.Sprint(i), Address: netip.MustParseAddrPort(address), Each: balanceWork, Group: group}
		worker, err := lab.StartWorker(s.nodes[i].Namespace, work)
		t.must(err)
		c.workers, c.groups, c.quotas = append(c.workers, worker), append(c.groups, group), append(c.quotas, quota)
		if policy == cluster.BalanceStatic {
			address += fmt.Sprintf("*%d", weight)
		}
		addresses = append(addresses, address)
	}
	service = integration.Service("balance-"+string(policy), s.world.Frontend(cluster.TCP, false), addresses...)
	service.Balance = policy
	return c, service
}

// play sends the connections under one policy.
func (s *stage) play(t *trial, policy cluster.Balance) *outcome {
	c, service := s.hire(t, policy)
	s.world.Publish(service)
	var answers []lab.Answer
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		answers, err = lab.Arrive(t.ctx, s.client.Namespace, lab.Arrivals{Frontend: integration.Address(service.Frontends()[0]), Due: s.due})
	}()
	t.pause(s.warm)
	begin := c.used(t)
	t.pause(s.half)
	middle := c.used(t)
	hog, herr := lab.StartHog(s.nodes[t.o.hog-1].Namespace, c.groups[t.o.hog-1])
	t.must(herr)
	t.pause(s.half)
	end := c.used(t)
	<-done
	t.must(err)
	t.must(hog.Kill())
	for _, w := range c.workers {
		t.must(w.Kill())
	}
	o := &outcome{}
	o.decisions, err = s.world.Store.Events(t.ctx, service.Name)
	t.must(err)
	s.world.Withdraw(service.Name)
	o.before.busy, o.after.busy = c.busy(begin, middle, s.half), c.busy(middle, end, s.half)
	for i, a := range answers {
		switch due := s.due[i]; {
		case due < s.warm:
		case due < s.warm+s.half:
			o.before.add(a)
		default:
			o.after.add(a)
		}
	}
	return o
}

// used is the processor time of each instance, with its hog if it has one.
func (c cast) used(t *trial) (all []time.Duration) {
	for _, g := range c.groups {
		used, err := g.Used()
		t.must(err)
		all = append(all, used)
	}
	return all
}

// busy is the part of its quota that each used.
func (c cast) busy(from, to []time.Duration, length time.Duration) (all []float64) {
	for i := range from {
		all = append(all, (to[i]-from[i]).Seconds()/length.Seconds()/c.quotas[i])
	}
	return all
}

// outcome is what came of one policy.
type outcome struct {
	before, after half
	decisions     []cluster.Event
}

// half is a time with or without the hog.
type half struct {
	took   []time.Duration
	byID   map[string]int
	failed int
	why    error
	busy   []float64
}

func (h *half) add(a lab.Answer) {
	if a.Err != nil {
		h.failed, h.why = h.failed+1, a.Err
		return
	}
	if h.byID == nil {
		h.byID = map[string]int{}
	}
	h.byID[a.ID]++
	h.took = append(h.took, a.Took)
}
