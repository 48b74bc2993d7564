package main

import (
	"fmt"
	"maps"
	"net/netip"
	"sync"
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
// the second half another process runs inside the quota of one of them. Static and adaptive, which are compared, are
// measured at the same time, each with instances of its own: what else the machine does then meets both.
func measureBalance(t *trial) {
	b := newStage(t)
	outcomes := map[cluster.Balance]*outcome{}
	for _, together := range [][]cluster.Balance{{cluster.BalanceUniform}, {cluster.BalanceStatic, cluster.BalanceAdaptive}} {
		maps.Copy(outcomes, b.play(t, together))
		for _, policy := range together {
			o := outcomes[policy]
			t.report(o.before.row(string(policy)+", before the hog"), o.after.row(string(policy)+", with the hog"))
			for _, d := range o.decisions {
				t.Logf("  %s %s", d.At.Format(time.TimeOnly), d.Reason)
			}
		}
	}
	t.report(writes(outcomes[cluster.BalanceAdaptive]))
	t.report(verdicts(outcomes[cluster.BalanceStatic], outcomes[cluster.BalanceAdaptive])...)
}

// stage is the cluster of measureBalance: four nodes with an instance each, and a fifth that the client runs on.
type stage struct {
	world               *integration.World
	warm, before, after time.Duration
	due                 []time.Duration
	nodes               []*lab.Host
	client              *lab.Host
}

func newStage(t *trial) *stage {
	// Before the hog p99 is that of the queues that come and go by chance: in a minute, two runs of the same weights differ
	// by more than a quarter in one case of five.
	s := &stage{
		warm: pick(t, 60*time.Second, 40*time.Second), before: pick(t, 150*time.Second, 30*time.Second), after: pick(t, 60*time.Second, 30*time.Second),
	}
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
	s.due = lab.PoissonArrivals(balanceSeed, rate, s.warm+s.before+s.after)
	return s
}

// cast are the instances of one policy, and what becomes of its connections.
type cast struct {
	policy  cluster.Balance
	service *cluster.Service
	workers []*lab.Worker
	groups  []*lab.Cgroup
	quotas  []float64
	used    [3][]time.Duration // at the beginning of the measured time, at the hog's, at the end
	answers []lab.Answer
	err     error
}

// hire starts the instances of a policy, each node's on the same port.
func (s *stage) hire(t *trial, policy cluster.Balance, port int) *cast {
	c := &cast{policy: policy}
	var addresses []string
	for i, weight := range balanceWeights {
		quota := float64(weight) * balanceUnit
		group, err := s.world.Lab.Cgroup(fmt.Sprintf("%s-%d", policy, i), quota)
		t.must(err)
		address := fmt.Sprintf("%s:%d", s.nodes[i].Addr4, port)
		work := lab.Work{ID: fmt.Sprint(i), Address: netip.MustParseAddrPort(address), Each: balanceWork, Group: group}
		worker, err := lab.StartWorker(s.nodes[i].Namespace, work)
		t.must(err)
		c.workers, c.groups, c.quotas = append(c.workers, worker), append(c.groups, group), append(c.quotas, quota)
		if policy == cluster.BalanceStatic {
			address += fmt.Sprintf("*%d", weight)
		}
		addresses = append(addresses, address)
	}
	c.service = integration.Service("balance-"+string(policy), s.world.Frontend(cluster.TCP, false), addresses...)
	c.service.Balance = policy
	return c
}

// play sends the connections under some policies at the same time.
func (s *stage) play(t *trial, policies []cluster.Balance) map[cluster.Balance]*outcome {
	var casts []*cast
	for i, policy := range policies {
		c := s.hire(t, policy, instancePort+i)
		s.world.Publish(c.service)
		casts = append(casts, c)
	}
	var clients sync.WaitGroup
	for _, c := range casts {
		clients.Go(func() {
			load := lab.Arrivals{Frontend: integration.Address(c.service.Frontends()[0]), Due: s.due}
			c.answers, c.err = lab.Arrive(t.ctx, s.client.Namespace, load)
		})
	}
	t.pause(s.warm)
	count(t, casts, 0)
	t.pause(s.before)
	count(t, casts, 1)
	for _, c := range casts {
		hog, err := lab.StartHog(s.nodes[t.o.hog-1].Namespace, c.groups[t.o.hog-1])
		t.must(err)
		c.workers = append(c.workers, hog)
	}
	t.pause(s.after)
	count(t, casts, 2)
	clients.Wait()
	outcomes := map[cluster.Balance]*outcome{}
	for _, c := range casts {
		outcomes[c.policy] = s.end(t, c)
	}
	return outcomes
}

// end sends the instances of a policy home, and sorts what became of its connections.
func (s *stage) end(t *trial, c *cast) *outcome {
	t.must(c.err)
	for _, w := range c.workers {
		t.must(w.Kill())
	}
	o := &outcome{}
	var err error
	o.decisions, err = s.world.Store.Events(t.ctx, c.service.Name)
	t.must(err)
	s.world.Withdraw(c.service.Name)
	o.before.busy, o.after.busy = c.busy(0, s.before), c.busy(1, s.after)
	for i, a := range c.answers {
		switch due := s.due[i]; {
		case due < s.warm:
		case due < s.warm+s.before:
			o.before.add(a)
		default:
			o.after.add(a)
		}
	}
	return o
}

// count notes the processor time of each instance, with its hog if it has one.
func count(t *trial, casts []*cast, at int) {
	for _, c := range casts {
		for _, g := range c.groups {
			used, err := g.Used()
			t.must(err)
			c.used[at] = append(c.used[at], used)
		}
	}
}

// busy is the part of its quota that each used in the time that begins with a count.
func (c *cast) busy(from int, length time.Duration) (all []float64) {
	for i, quota := range c.quotas {
		all = append(all, (c.used[from+1][i]-c.used[from][i]).Seconds()/length.Seconds()/quota)
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
