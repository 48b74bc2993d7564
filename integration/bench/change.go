package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// measureChange changes single instances of a kernel that holds 10,000 services, and a thousand services at once.
func measureChange(t *trial) {
	c := newChanger(t, 10_000)
	times := pick(t, 200, 50)
	added, removed := c.each(times, c.add), c.each(times, c.restore)
	replaced := c.each(times, c.replace)
	reweighed := c.each(times, c.reweigh)
	adapted := c.each(min(times, adaptives), c.adapt)
	rows := slices.Concat(
		changeRows("added", added), changeRows("removed", removed), changeRows("replaced", replaced),
		changeRows("of another weight", reweighed), changeRows("of another weight, adaptive service", adapted),
	)
	for i := range rows {
		p50 := rows[i].Numbers["p50_ms"]
		switch rows[i].What {
		case changeName("added", "driver"):
			rows[i] = rows[i].want("p50 <= 3 ms", p50 <= 3)
		case changeName("replaced", "driver"):
			rows[i] = rows[i].want("p50 <= 0.2 ms", p50 <= 0.2)
		}
	}
	t.report(rows...)
	t.report(c.thousand(pick(t, 10, 3))...)
}

// adaptives is how many services take their weights from the leader. Such a service has 256 slots.
const adaptives = 200

// changer changes a loaded kernel.
type changer struct {
	t       *trial
	k       *kernel
	draft   *cluster.Draft
	n       int
	changes int
}

func newChanger(t *trial, n int) *changer {
	c := &changer{t: t, k: newKernel(t), draft: draft(n, adaptives), n: n}
	c.k.read(t)
	c.k.bring(t, c.draft.Snapshot(1<<40))
	runtime.GC()
	return c
}

// each makes one change to as many services, one after the other, far apart from each other.
func (c *changer) each(times int, change func(i int)) (took []step) {
	for n := range times {
		took = append(took, c.once(func() { change(adaptives + n*31%(c.n-adaptives)) }))
	}
	return took
}

// once makes a change and brings the kernel there. What a watch does first, sealing the snapshot, counts as deciding.
func (c *changer) once(change func()) step {
	c.changes++
	change()
	start := time.Now()
	snapshot := c.draft.Snapshot(1<<40 + int64(c.changes))
	sealed := time.Since(start)
	s := c.k.bring(c.t, snapshot)
	if s.writes == 0 {
		c.t.Fatalf("a change wrote nothing")
	}
	s.decide += sealed
	return s
}

// edit publishes another form of a service.
func (c *changer) edit(i int, change func(*cluster.Service)) {
	s := serviceOf(i)
	c.changes++
	s.ModRevision = 1<<40 + int64(c.changes)
	change(s)
	c.draft.Service(s.Name, s)
}

func (c *changer) next() cluster.Instance {
	c.changes++
	return instanceAt(plus(fresh, c.changes))
}

func (c *changer) add(i int) {
	c.edit(i, func(s *cluster.Service) { s.Instances = append(s.Instances, c.next()) })
}

func (c *changer) restore(i int) { c.edit(i, func(*cluster.Service) {}) }

func (c *changer) replace(i int) {
	c.edit(i, func(s *cluster.Service) { s.Instances[0] = c.next() })
}

func (c *changer) reweigh(i int) {
	c.edit(i, func(s *cluster.Service) { s.Instances[0].Weight = 2 })
}

// adapt moves a quarter of one instance's share, the largest step that a leader takes.
func (c *changer) adapt(int) {
	i := c.changes % adaptives
	c.draft.Weights(nameOf(i), &cluster.Weights{Share: map[string]int{
		serviceOf(i).Instances[0].ID: 75, serviceOf(i).Instances[1].ID: 100 + c.changes%10,
	}})
}

func changeName(what, from string) string {
	return fmt.Sprintf("an instance %s, at 10000 services, %s", what, from)
}

func changeRows(what string, steps []step) []Row {
	var write, all []time.Duration
	for _, s := range steps {
		write, all = append(write, s.write), append(all, s.all())
	}
	return []Row{p50p99(changeName(what, "driver"), write), p50p99(changeName(what, "snapshot to kernel"), all)}
}

// thousand changes a thousand services in one snapshot.
func (c *changer) thousand(times int) []Row {
	kinds := []struct {
		name   string
		change func(int)
	}{{"replaced", c.replace}, {"added", c.add}}
	var rows []Row
	for _, kind := range kinds {
		var took []time.Duration
		for range times {
			s := c.once(func() {
				for i := range 1000 {
					kind.change(adaptives + i)
				}
			})
			took = append(took, s.all())
			c.once(func() {
				for i := range 1000 {
					c.restore(adaptives + i)
				}
			})
		}
		rows = append(rows, median(fmt.Sprintf("1000 services at once, an instance %s, snapshot to kernel", kind.name), took))
	}
	return rows
}
