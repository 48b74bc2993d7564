package main

import (
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/ipt"
	"github.com/weir-lb/weir/rules/nft"
)

// driver writes a kernel's rules.
type driver interface {
	rules.Driver
	Close() error
}

// kernel is a network namespace with a driver in it, without an agent around.
type kernel struct {
	lab    *lab.Lab
	ns     *lab.Namespace
	driver driver
	have   *rules.State
	want   *rules.Ruleset

	options rules.Options
}

// step is what bringing a kernel to a snapshot took.
type step struct {
	decide time.Duration // Build and Diff
	write  time.Duration // the driver's Apply
	writes int
}

func (s step) all() time.Duration { return s.decide + s.write }

// newKernel makes an empty one. Close removes it early; the end of the trial does in any case.
func newKernel(t *trial) *kernel {
	l, err := lab.New("bench")
	t.must(err)
	t.Cleanup(func() { t.must(l.Close()) })
	ns, err := l.Namespace("kernel")
	t.must(err)
	return kernelIn(t, l, ns)
}

// kernelIn drives a namespace that is there already.
func kernelIn(t *trial, l *lab.Lab, ns *lab.Namespace) *kernel { return kernelWith(t, l, ns, "nft") }

// kernelWith drives it with a certain driver: nft, or a variant of iptables.
func kernelWith(t *trial, l *lab.Lab, ns *lab.Namespace, name string) *kernel {
	k := &kernel{lab: l, ns: ns}
	if variant, isIPT := strings.CutPrefix(name, "ipt-"); isIPT {
		k.driver, k.options.NoTables = ipt.New(ipt.Options{Variant: ipt.Variant(variant), NetNS: int(ns.Netns())}), true
		return k
	}
	driver, err := nft.New(nft.Options{NetNS: int(ns.Netns())})
	t.must(err)
	t.Cleanup(func() { _ = driver.Close() }) // a second closing is refused, which is fine
	k.driver = driver
	return k
}

func (k *kernel) close(t *trial) {
	t.must(k.driver.Close())
	t.must(k.lab.Close())
}

// read finds out what is there.
func (k *kernel) read(t *trial) {
	have, err := k.driver.Read(t.ctx)
	t.must(err)
	k.have = have
}

// bring is what an agent's pass does.
func (k *kernel) bring(t *trial, snapshot *cluster.Snapshot) step {
	start := time.Now()
	k.want = rules.Build(k.want, snapshot, k.options)
	plan := rules.Diff(k.have, k.want)
	decided := time.Now()
	t.must(k.driver.Apply(t.ctx, plan))
	written := time.Now()
	k.have.Commit(plan)
	return step{decided.Sub(start), written.Sub(decided), plan.Writes()}
}
