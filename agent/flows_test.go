package agent

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/conntrack"
	"github.com/weir-lb/weir/rules"
)

// entry is a connection tracking entry: to a frontend, answered from somewhere. State 0 is one without an answer.
func entry(proto uint8, frontend, answers string, state uint8) conntrack.Entry {
	return conntrack.Entry{
		Proto: proto, Client: netip.MustParseAddrPort("192.168.10.50:4242"), To: netip.MustParseAddrPort(frontend),
		Answers: netip.MustParseAddrPort(answers), Replied: state != 0, State: state,
	}
}

const (
	tcp, udp, sctp     = unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP
	unanswered, stands = 0, 3
)

// publishes makes a service whose file has these instances.
func publishes(draft *cluster.Draft, revision int64, name, vip string, proto cluster.Proto, instances ...string) {
	s := &cluster.Service{Name: name, VIPs: []netip.Addr{netip.MustParseAddr(vip)}, Ports: []cluster.Port{{Port: 80, Protocol: proto}}, CreateRevision: 1, ModRevision: revision}
	for _, address := range instances {
		i, err := cluster.ParseInstance(address)
		if err != nil {
			panic(err)
		}
		s.Instances = append(s.Instances, i)
	}
	draft.Service(name, s)
}

func TestStaleFlows(t *testing.T) {
	draft := cluster.NewDraft()
	publishes(draft, 1, "udp", "10.10.1.1", cluster.UDP, "192.168.10.100:80", "192.168.10.101:81")
	publishes(draft, 1, "tcp", "10.10.1.1", cluster.TCP, "192.168.10.100:80")
	publishes(draft, 1, "sctp", "10.10.1.1", cluster.SCTP, "192.168.10.100:80")
	publishes(draft, 1, "none", "10.10.1.2", cluster.UDP)
	publishes(draft, 1, "six", "fd10::1", cluster.UDP, "[fd00:10::100]:80")
	publishes(draft, 1, "refused", "10.10.1.3", cluster.UDP, "192.168.10.100:80")
	gone := cluster.Frontend{VIP: netip.MustParseAddr("10.77.0.1"), Proto: cluster.UDP, Port: 80}
	kept := cluster.Frontend{VIP: netip.MustParseAddr("10.10.1.3"), Proto: cluster.UDP, Port: 80}
	snapshot := draft.Snapshot(9)
	s := newSorting(todo{
		snapshot: snapshot, ruleset: rules.Build(nil, snapshot, rules.Options{}),
		gone: map[cluster.Frontend]bool{gone: true}, quarantined: map[cluster.Frontend]bool{kept: true},
	}, newDepartures(), true)

	tests := []struct {
		name  string
		entry conntrack.Entry
		stale bool
	}{
		{"to a wanted instance", entry(udp, "10.10.1.1:80", "192.168.10.100:80", 0), false},
		{"to another wanted one", entry(udp, "10.10.1.1:80", "192.168.10.101:81", 0), false},
		{"to one that went", entry(udp, "10.10.1.1:80", "192.168.10.102:80", 0), true},
		{"to a wanted address, wrong port", entry(udp, "10.10.1.1:80", "192.168.10.101:80", 0), true},
		{"to the VIP itself: bound without rules", entry(udp, "10.10.1.1:80", "10.10.1.1:80", 0), true},
		{"of a service without instance", entry(udp, "10.10.1.2:80", "192.168.10.100:80", 0), true},
		{"to an unknown port of a VIP", entry(udp, "10.10.1.1:99", "10.10.1.1:99", 0), true},
		{"of a frontend that went", entry(udp, "10.77.0.1:80", "192.168.10.100:80", 0), true},
		{"of a frontend whose change the kernel refused", entry(udp, "10.10.1.3:80", "192.168.10.102:80", 0), false},
		{"IPv6, wanted", entry(udp, "[fd10::1]:80", "[fd00:10::100]:80", 0), false},
		{"IPv6, went", entry(udp, "[fd10::1]:80", "[fd00:10::101]:80", 0), true},
		{"of somebody else", entry(udp, "8.8.8.8:53", "8.8.8.8:53", 0), false},
		{"of somebody else's mapping", entry(udp, "192.168.10.1:80", "172.17.0.2:80", 0), false},
		{"TCP without a reply, went", entry(tcp, "10.10.1.1:80", "192.168.10.102:80", unanswered), true},
		{"TCP without a reply, bound without rules", entry(tcp, "10.10.1.1:80", "10.10.1.1:80", unanswered), true},
		{"TCP without a reply, wanted", entry(tcp, "10.10.1.1:80", "192.168.10.100:80", unanswered), false},
		{"TCP established to one that went: drains", entry(tcp, "10.10.1.1:80", "192.168.10.102:80", stands), false},
		{"TCP that ends", entry(tcp, "10.10.1.1:80", "192.168.10.102:80", conntrack.Closed), false},
		{"SCTP without a reply, went", entry(sctp, "10.10.1.1:80", "192.168.10.102:80", unanswered), true},
		{"SCTP with a reply: drains", entry(sctp, "10.10.1.1:80", "192.168.10.102:80", stands), false},
		{"ICMP", entry(unix.IPPROTO_ICMP, "10.10.1.1:80", "10.10.1.1:80", 0), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			require.Equal(t, test.stale, s.pick(test.entry))
		})
	}
}

// table is a connection tracking table with faults on demand, which knows the wrong thing about nobody.
type table struct {
	entries []conntrack.Entry
	walks   int
	took    time.Duration // of each walk
	fail    error
	removed []conntrack.Entry
	ended   []netip.AddrPort
}

func (k *table) list(family uint8, pick func(conntrack.Entry) bool) (out []conntrack.Entry, err error) {
	if family == unix.AF_INET {
		k.walks++
	}
	time.Sleep(k.took)
	for _, e := range k.entries {
		if conntrack.Family(e.To.Addr()) == family && pick(e) {
			out = append(out, e)
		}
	}
	return out, k.fail
}

func (k *table) remove(e conntrack.Entry) (bool, error) {
	k.removed = append(k.removed, e)
	before := len(k.entries)
	k.entries = slices.DeleteFunc(k.entries, func(have conntrack.Entry) bool {
		return have.Client == e.Client && have.Answers == e.Answers && have.Proto == e.Proto
	})
	return len(k.entries) < before, nil
}

func (k *table) reset(client, _ netip.AddrPort) (bool, error) {
	k.ended = append(k.ended, client)
	return false, conntrack.ErrNoReset
}

// reconciler is a flows with a table of the test's, and what it took over so far.
type reconciler struct {
	*flows
	t       *testing.T
	table   *table
	have    *rules.State
	told    int
	draft   *cluster.Draft
	version int64
}

func newReconciler(t *testing.T, kill bool) *reconciler {
	c, err := Config{Node: "n1", Driver: newKernel(), Source: &store{}, Report: &store{}, KillFlows: kill}.withDefaults()
	require.NoError(t, err)
	r := &reconciler{t: t, flows: newFlows(c), table: &table{}, have: rules.NewState(), draft: cluster.NewDraft()}
	r.flows.table, r.flows.changed = r.table, func() { r.told++ }
	r.draft.Node("n1", &cluster.Node{}) // whose word on instances of other hosts counts
	return r
}

// apply does what a pass does, and then reconciles if that is called for.
func (r *reconciler) apply() counted {
	r.t.Helper()
	r.version++
	snapshot := r.draft.Snapshot(r.version)
	want := rules.Build(nil, snapshot, rules.Options{})
	plan := rules.Diff(r.have, want)
	r.have.Commit(plan)
	if r.want(snapshot, r.have, want, plan, false) {
		require.NoError(r.t, r.reconcile(context.Background()))
	}
	return r.counted()
}

func (r *reconciler) publish(proto cluster.Proto, instances ...string) counted {
	r.t.Helper()
	r.version++
	publishes(r.draft, r.version, "a", "10.10.1.1", proto, instances...)
	return r.apply()
}

func TestDrainingIsCounted(t *testing.T) {
	r := newReconciler(t, true)
	one, two := "192.168.10.100:80", "192.168.10.101:80"
	r.table.entries = []conntrack.Entry{entry(tcp, "10.10.1.1:80", one, stands), entry(tcp, "10.10.1.1:80", two, stands), entry(tcp, "10.10.1.1:80", one, conntrack.TimeWait), entry(udp, "10.10.1.1:80", one, stands)}
	told := r.publish(cluster.TCP, one, two)
	require.Empty(t, told.flows, "nothing is drained")

	r.draft.Admin("a", one, &cluster.Admin{Drain: true})
	told = r.apply()
	require.Equal(t, counted{r.version, map[string]int{"a/" + one: 1}}, told)
	require.Empty(t, slices.DeleteFunc(r.table.removed, func(e conntrack.Entry) bool { return e.Proto == udp }), "live flows to draining instances are untouched, also with --kill-flows")

	r.draft.Admin("a", one, &cluster.Admin{Standby: true})
	require.Equal(t, map[string]int{"a/" + one: 1}, r.apply().flows)
	zero := 0
	r.draft.Admin("a", one, &cluster.Admin{Weight: &zero})
	require.Equal(t, map[string]int{"a/" + one: 1}, r.apply().flows)
	r.draft.Admin("a", one, nil)
	require.Empty(t, r.apply().flows, "it is back")
	r.draft.Health("n1", cluster.NodeHealth{"a": {one: {Verdict: cluster.Failing}}})
	require.Empty(t, r.apply().flows, "nobody took it out")
	r.draft.Health("n1", nil)

	require.Equal(t, map[string]int{"a/" + one: 1}, r.publish(cluster.TCP, two).flows, "removed")
	r.draft.Service("a", nil)
	require.Equal(t, map[string]int{"a/" + one: 1, "a/" + two: 1}, r.apply().flows, "with its service")
	r.table.entries, r.todo.again = nil, true
	require.NoError(t, r.reconcile(t.Context()))
	require.Equal(t, counted{revision: r.version, flows: map[string]int{}}, r.counted())
	require.Empty(t, r.departures.removed, "nothing is remembered for ever")
}

// TestRemovedWhileAway finds connections to an instance that was removed before the agent started.
func TestRemovedWhileAway(t *testing.T) {
	r := newReconciler(t, true)
	r.table.entries = []conntrack.Entry{entry(tcp, "10.10.1.1:80", "192.168.10.109:80", stands), entry(tcp, "10.10.1.9:80", "192.168.10.109:80", stands)}
	require.Equal(t, map[string]int{"a/192.168.10.109:80": 1}, r.publish(cluster.TCP, "192.168.10.100:80").flows)
	require.Empty(t, r.table.removed, "that it was dead nobody said")
}

func TestKillFlows(t *testing.T) {
	for _, kill := range []bool{true, false} {
		r := newReconciler(t, kill)
		one, two := "192.168.10.100:80", "192.168.10.101:80"
		toOne, toTwo := entry(tcp, "10.10.1.1:80", one, stands), entry(tcp, "10.10.1.1:80", two, stands)
		toTwo.Client = netip.MustParseAddrPort("192.168.10.50:4243")
		r.table.entries = []conntrack.Entry{toOne, toTwo}
		r.publish(cluster.TCP, one, two)
		r.draft.Health("n1", cluster.NodeHealth{"a": {one: {Verdict: cluster.Dead}}})
		require.Empty(t, r.apply().flows, "nobody waits for the dead")
		if kill {
			require.Equal(t, []conntrack.Entry{toTwo}, r.table.entries)
			require.Equal(t, []netip.AddrPort{toOne.Client}, r.table.ended)
			continue
		}
		require.Empty(t, r.table.removed)
		require.Equal(t, map[string]int{"a/" + one: 1}, r.publish(cluster.TCP, two).flows, "removed, it is counted")
	}
	r := newReconciler(t, true)
	one := "192.168.10.100:80"
	r.publish(cluster.TCP, one)
	r.draft.Health("n1", cluster.NodeHealth{"a": {one: {Verdict: cluster.Dead}}})
	r.apply()
	r.table.entries = []conntrack.Entry{entry(tcp, "10.10.1.1:80", one, stands)}
	r.publish(cluster.TCP)
	require.Empty(t, r.table.entries, "removed while it was dead")
}

// TestWalks counts how often the table is walked: it costs as much as all connections of the node.
func TestWalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a walk takes as long as the table says, and not as long as the machine needs
		r := newReconciler(t, false)
		one, two := "192.168.10.100:80", "192.168.10.101:80"
		walks := func(want int, why string) {
			t.Helper()
			require.Equal(t, want, r.table.walks, why)
			r.table.walks = 0
		}
		r.publish(cluster.TCP, one)
		walks(1, "at the start")
		require.Equal(t, recount, <-r.again, "and once more: a packet may have been under way")
		for range 3 {
			r.apply()
		}
		r.publish(cluster.TCP, one, two)
		walks(0, "nothing was lost")
		require.Equal(t, r.version, r.counted().revision)
		r.publish(cluster.TCP, two)
		walks(1, "an instance went")
		<-r.again
		r.table.entries, r.table.took = []conntrack.Entry{entry(tcp, "10.10.1.1:80", two, stands)}, 100*time.Millisecond
		r.told = 0
		r.draft.Admin("a", two, &cluster.Admin{Drain: true})
		r.apply()
		walks(1, "drained")
		require.Equal(t, 1, r.told)
		require.GreaterOrEqual(t, <-r.again, 2*time.Second, "slow walks are rare ones")
		r.apply()
		walks(0, "before it is time again")
		require.Equal(t, map[string]int{"a/" + two: 1}, r.counted().flows)
		r.todo.again = true
		require.NoError(t, r.reconcile(t.Context()))
		walks(1, "something is left")
		require.Equal(t, 1, r.told, "but nothing new")
		<-r.again
		r.draft.Barrier(r.version + 1)
		r.apply()
		walks(0, "the same said again")
		require.Equal(t, 2, r.told, "but whoever said it waits for an answer")
		r.table.entries, r.todo.again = nil, true
		require.NoError(t, r.reconcile(t.Context()))
		require.Equal(t, 3, r.told)
		require.Empty(t, r.again, "nothing is left")
	})
}

// TestFlowsFailure keeps in mind which frontends went until that was seen through.
func TestFlowsFailure(t *testing.T) {
	r := newReconciler(t, false)
	require.NoError(t, r.reconcile(t.Context()))
	require.Zero(t, r.table.walks, "before the first pass nothing is known")
	r.publish(cluster.UDP, "192.168.10.100:80")
	before := r.counted()
	r.draft.Service("a", nil)
	r.table.fail = unix.EPERM
	r.version++
	snapshot := r.draft.Snapshot(r.version)
	want := rules.Build(nil, snapshot, rules.Options{})
	require.True(t, r.want(snapshot, r.have, want, rules.Diff(r.have, want), false))
	require.ErrorIs(t, r.reconcile(t.Context()), unix.EPERM)
	require.Equal(t, before, r.counted(), "what was not counted is not told")
	r.table.fail, r.table.entries = nil, []conntrack.Entry{entry(udp, "10.10.1.1:80", "192.168.10.100:80", 0)}
	require.NoError(t, r.reconcile(t.Context()))
	require.Empty(t, r.table.entries)
	r.table.entries, r.todo.again = []conntrack.Entry{entry(udp, "10.10.1.1:80", "192.168.10.100:80", 0)}, true
	require.NoError(t, r.reconcile(t.Context()))
	require.Len(t, r.table.entries, 1, "seen through")
}
