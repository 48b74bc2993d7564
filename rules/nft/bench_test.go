package nft

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// member is service i with instances of these numbers.
func member(i int, revision int64, weight int, numbers ...int) *cluster.Service {
	s := &cluster.Service{
		Name: fmt.Sprintf("s%d", i), CreateRevision: 1, ModRevision: revision,
		VIPs:  []netip.Addr{netip.AddrFrom4([4]byte{10, 10, byte(i >> 8), byte(i)})},
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
	}
	for _, n := range numbers {
		addr := netip.AddrFrom4([4]byte{192, byte(168 + i%8), byte(i), byte(n)})
		s.Instances = append(s.Instances, cluster.Instance{ID: addr.String(), Addr: addr, Port: 80, Weight: 1})
	}
	s.Instances[0].Weight = weight
	return s
}

const benchServices = 10_000

// node is a kernel that holds 10,000 services of five instances.
type node struct {
	d     *Driver
	draft *cluster.Draft
	have  *rules.State
	want  *rules.Ruleset
	now   int64
}

func newNode(b *testing.B) *node {
	n := &node{d: open(b, namespace(b), OwnAuto), draft: cluster.NewDraft(), now: 2}
	for i := range benchServices {
		n.draft.Service(fmt.Sprintf("s%d", i), member(i, 1, 1, 1, 2, 3, 4, 5))
	}
	n.draft.Config(&cluster.Config{VIPPools: []netip.Prefix{prefix("10.10.0.0/16")}})
	n.want = rules.Build(nil, n.draft.Snapshot(n.now), rules.Options{})
	n.have = read(b, n.d)
	return n
}

// settle is what an agent does with a new snapshot, from the snapshot on.
func (n *node) settle(b *testing.B) time.Duration {
	snapshot := n.draft.Snapshot(n.now)
	start := time.Now()
	n.want = rules.Build(n.want, snapshot, rules.Options{})
	_, err := rules.Carry(context.Background(), n.d, n.have, rules.Diff(n.have, n.want))
	took := time.Since(start)
	require.NoError(b, err)
	return took
}

func report(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
}

// BenchmarkLoad is a first start: the table, and 10,000 services of five instances.
func BenchmarkLoad(b *testing.B) {
	n := newNode(b)
	var took []time.Duration
	for b.Loop() {
		require.NoError(b, n.d.Clean(context.Background()))
		n.have = read(b, n.d)
		took = append(took, n.settle(b))
	}
	report(b, took)
}

// benchmarkChange alternates between forms of random services.
func benchmarkChange(b *testing.B, forms ...func(i int, revision int64) *cluster.Service) {
	n := newNode(b)
	n.settle(b)
	var took []time.Duration
	for b.Loop() {
		n.now++
		i := int(n.now/int64(len(forms))) * 7919 % benchServices
		n.draft.Service(fmt.Sprintf("s%d", i), forms[n.now%int64(len(forms))](i, n.now))
		took = append(took, n.settle(b))
	}
	report(b, took)
}

// BenchmarkAddOne: a service gets an instance more, then loses it: two transactions each, one with a verdict.
func BenchmarkAddOne(b *testing.B) {
	benchmarkChange(b,
		func(i int, revision int64) *cluster.Service { return member(i, revision, 1, 1, 2, 3, 4, 5, 6) },
		func(i int, revision int64) *cluster.Service { return member(i, revision, 1, 1, 2, 3, 4, 5) })
}

// BenchmarkReplaceOne: one instance in place of another.
func BenchmarkReplaceOne(b *testing.B) {
	benchmarkChange(b,
		func(i int, revision int64) *cluster.Service { return member(i, revision, 1, 1, 2, 3, 4, 6) },
		func(i int, revision int64) *cluster.Service { return member(i, revision, 1, 1, 2, 3, 4, 5) })
}

// BenchmarkReweight: weights of an adaptive service move.
func BenchmarkReweight(b *testing.B) {
	adaptive := func(weight int) func(i int, revision int64) *cluster.Service {
		return func(i int, revision int64) *cluster.Service {
			s := member(i, revision, weight, 1, 2, 3, 4, 5)
			s.Balance = cluster.BalanceAdaptive
			return s
		}
	}
	n := newNode(b)
	for i := range 10 {
		n.draft.Service(fmt.Sprintf("s%d", i), adaptive(1)(i, 2))
	}
	n.settle(b)
	var took []time.Duration
	for b.Loop() {
		n.now++
		i := int(n.now % 10)
		n.draft.Service(fmt.Sprintf("s%d", i), adaptive(int(n.now/10)%5+1)(i, n.now))
		took = append(took, n.settle(b))
	}
	report(b, took)
}

// BenchmarkAdopt is a restart: read the kernel, build from scratch, find nothing to do.
func BenchmarkAdopt(b *testing.B) {
	n := newNode(b)
	n.settle(b)
	snapshot := n.draft.Snapshot(n.now)
	b.ReportAllocs()
	for b.Loop() {
		have := read(b, n.d)
		require.True(b, rules.Diff(have, rules.Build(nil, snapshot, rules.Options{})).Empty())
	}
}
