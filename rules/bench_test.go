package rules_test

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// crowd is n services of five instances each, in a draft.
func crowd(n int) *cluster.Draft {
	draft := cluster.NewDraft()
	for i := range n {
		draft.Service(fmt.Sprintf("s%d", i), member(i, 5, 0, 1))
	}
	return draft
}

// member is service i with n instances; the address of the last one follows from a variant.
func member(i, n, variant int, revision int64) *cluster.Service {
	s := &cluster.Service{
		Name: fmt.Sprintf("s%d", i), CreateRevision: 1, ModRevision: revision,
		VIPs:  []netip.Addr{netip.AddrFrom4([4]byte{10, 10, byte(i >> 8), byte(i)})},
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
	}
	for k := range n {
		host := k + 1
		if k == n-1 {
			host += 10 * variant
		}
		addr := netip.AddrFrom4([4]byte{192, byte(168 + i%8), byte(i), byte(host)})
		s.Instances = append(s.Instances, cluster.Instance{ID: fmt.Sprintf("i%d-%d", k, host), Addr: addr, Port: 80, Weight: 1})
	}
	return s
}

// BenchmarkBuild is from scratch: 10,000 services of five instances.
func BenchmarkBuild(b *testing.B) {
	snapshot := crowd(10_000).Snapshot(2)
	b.ReportAllocs()
	for b.Loop() {
		rules.Build(nil, snapshot, rules.Options{})
	}
}

// BenchmarkBuildOne is one changed service of 10,000: an instance replaced, or one more.
func BenchmarkBuildOne(b *testing.B) {
	draft := crowd(10_000)
	snapshots := [2]*cluster.Snapshot{draft.Snapshot(2)}
	draft.Service("s7", member(7, 5, 1, 3))
	snapshots[1] = draft.Snapshot(3)
	built := rules.Build(nil, snapshots[0], rules.Options{})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		built = rules.Build(built, snapshots[i%2], rules.Options{})
	}
}

// BenchmarkDiffOne compares two rulesets that differ in one service of 10,000.
func BenchmarkDiffOne(b *testing.B) {
	draft := crowd(10_000)
	first := rules.Build(nil, draft.Snapshot(2), rules.Options{})
	draft.Service("s7", member(7, 5, 1, 3))
	second := rules.Build(first, draft.Snapshot(3), rules.Options{})
	have := rules.NewState()
	have.Commit(rules.Diff(have, first))
	b.ReportAllocs()
	for b.Loop() {
		if rules.Diff(have, second).Writes() != 1 {
			b.Fatal("not one write")
		}
	}
}

// BenchmarkDiffAll compares after a Read, when nothing is known to be shared.
func BenchmarkDiffAll(b *testing.B) {
	want := rules.Build(nil, crowd(10_000).Snapshot(2), rules.Options{})
	have := rules.NewState()
	have.Commit(rules.Diff(have, want))
	read := rules.NewState()
	read.Placed, read.Sets = have.Placed, have.Sets
	b.ReportAllocs()
	for b.Loop() {
		if !rules.Diff(read, want).Empty() {
			b.Fatal("not empty")
		}
	}
}

// BenchmarkMemory tells what a State and a Ruleset of 10,000 services of five instances take together.
func BenchmarkMemory(b *testing.B) {
	snapshot := crowd(10_000).Snapshot(2)
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		before := heap()
		want := rules.Build(nil, snapshot, rules.Options{})
		have := rules.NewState()
		have.Commit(rules.Diff(have, want))
		b.ReportMetric((heap()-before)/(1<<20), "MiB")
		runtime.KeepAlive(want)
		runtime.KeepAlive(have)
	}
	runtime.KeepAlive(snapshot)
}
