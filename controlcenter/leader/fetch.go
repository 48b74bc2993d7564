package leader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// At most so many nodes are asked at once: enough that some that hang do not hold up the others, few enough that the
// answers, which may be large, are not all in memory.
const atOnce = 32

// answer is what one node said in one round.
type answer struct {
	node     string
	at       time.Time
	took     time.Duration
	err      error
	report   loadmon.Report
	measured map[string]map[string]loadmon.Measured // by service and instance: what is believed
	problems []cluster.Problem
}

// fetch asks nodes for their loads, at most for half an interval each and four fifths of it all together. Those that did
// not answer last time come last, so that they take no time from the others. For whom no time was left is none of these.
func (b *balance) fetch(ctx context.Context, s *cluster.Snapshot, nodes []string) []answer {
	ctx, cancel := context.WithTimeout(ctx, b.config.Interval*4/5)
	defer cancel()
	slices.SortStableFunc(nodes, func(m, n string) int { return cmp.Compare(b.failures[m], b.failures[n]) })
	answers := make([]answer, len(nodes))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, name := range nodes {
		g.Go(func() error {
			answers[i] = b.ask(ctx, s, name)
			return nil
		})
	}
	_ = g.Wait() // each answer has its own error
	b.countFailures(answers)
	return answers
}

func (b *balance) countFailures(answers []answer) {
	failures := map[string]int{}
	for _, a := range answers {
		switch {
		case errors.Is(a.err, errNoTime):
			failures[a.node] = b.failures[a.node]
		case a.err != nil:
			failures[a.node] = b.failures[a.node] + 1
		}
	}
	b.failures = failures
}

// errNoTime says that a node was not asked, since those before it took all the time of the round.
var errNoTime = errors.New("there was no time left to ask it")

// ask fetches the loads of one node and takes of them what that node may speak of.
func (b *balance) ask(ctx context.Context, s *cluster.Snapshot, name string) (a answer) {
	over := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(ctx, b.config.Interval/2)
	defer cancel()
	a = answer{node: name, at: time.Now()}
	n, ok := s.Nodes.Get(name)
	if !ok || n.Monitor == "" {
		a.err = fmt.Errorf("no load monitor is known there")
		a.problem("", "it tells no load monitor, so its instances keep their weights", "start its agent without --loadmon=false, or \"weir loadmon\" beside it")
		return a
	}
	if over {
		a.err = errNoTime
		a.problem("", "its load monitor was not asked, so its instances keep their weights: others took all the time", "look for nodes whose load monitors do not answer")
		return a
	}
	report, problems, err := b.config.Loads.Loads(ctx, name, n)
	a.took = time.Since(a.at)
	b.metrics.fetched(a.took, err)
	if err != nil {
		a.err = err
		a.problem("", fmt.Sprintf("its load monitor gives no report, so its instances keep their weights: %v", err), "see that it runs there, and that this host reaches "+n.Monitor)
		return a
	}
	a.report, a.problems = report, problems
	measured, problems := known(s, report).Accept(name, func(service, instance string) bool { return node(s, service, instance) == name })
	a.measured, a.problems = measured, append(a.problems, problems...)
	if age := a.at.Sub(report.At); len(measured) > 0 && age > stale {
		a.problem("at", fmt.Sprintf("its figures are %s old and do not count", age.Round(time.Second)), "set the clocks of that node and of this host; if they are right, look at its load monitor's log")
	}
	return a
}

// stale is the age from which figures do not count any more.
const stale = 15 * time.Second

func (a *answer) problem(field, what, fix string) {
	a.problems = append(a.problems, cluster.Problem{Object: "node " + a.node, Field: field, What: what, Fix: fix})
}

// known is a report without instances that nobody knows: those that have just come or gone, of which the node heard a
// moment earlier or later.
func known(s *cluster.Snapshot, r loadmon.Report) loadmon.Report {
	r.Loads = slices.DeleteFunc(slices.Clone(r.Loads), func(l loadmon.Load) bool { return node(s, l.Service, l.Instance) == "" })
	return r
}

// node is where an instance runs, "" when that is not known.
func node(s *cluster.Snapshot, service, instance string) string {
	in, ok := s.Services.Get(service)
	if !ok {
		return ""
	}
	return in.Hosts[instance].Node
}
