package nft

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// Nobody else can touch a table that is owned: a flush passes it by, anything else is refused.
func TestOwnerIsLeftAlone(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	d := open(t, ns, OwnAuto)
	require.True(t, d.Owning(), "this kernel has owned tables")
	want := story()
	install(t, d, want)
	before := listing(t, ns)
	nft(t, ns, "flush ruleset")
	for _, script := range []string{
		"delete table ip weir", "flush table ip weir", "flush chain ip weir dispatch", "add rule ip weir dispatch accept",
		"add chain ip weir theirs", "add element ip weir services { 1.1.1.1 . tcp . 80 : drop }", "flush map ip6 weir endpoints-0",
		"add table ip weir { flags dormant; }",
	} {
		out, err := inside(ns, script, "nft", "-f", "-")
		require.Error(t, err, "%s: %s", script, out)
	}
	require.Equal(t, before, listing(t, ns))
	state := read(t, d)
	require.Empty(t, state.Damage)
	require.Empty(t, rules.Diff(state, want).String())
}

func TestOwnerIsOne(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	first := open(t, ns, OwnAuto)
	want := story()
	install(t, first, want)
	for _, ownership := range []Ownership{OwnAuto, OwnOff} {
		second := open(t, ns, ownership)
		_, err := second.Read(t.Context())
		require.ErrorIs(t, err, rules.ErrOwned, ownership)
		require.ErrorIs(t, err, rules.ErrOwned)
		require.ErrorIs(t, second.Clean(t.Context()), rules.ErrOwned, ownership)
	}
	looking := open(t, ns, ReadOnly)
	require.Empty(t, rules.Diff(read(t, looking), want).String(), "anybody may look")
	require.Empty(t, rules.Diff(read(t, first), want).String())
}

// The tables of a dead process are adopted without a write, and belong to the new one then.
func TestOwnerDies(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	first := open(t, ns, OwnAuto)
	want := story()
	install(t, first, want)
	before := blocks(strings.ReplaceAll(listing(t, ns), "\tflags owner\n", ""))
	require.NoError(t, first.Close())

	second := open(t, ns, OwnAuto)
	state := read(t, second)
	require.Empty(t, state.Damage)
	require.Zero(t, rules.Diff(state, want).Writes())
	require.Equal(t, before, blocks(strings.ReplaceAll(listing(t, ns), "\tflags owner\n", "")))
	_, err := inside(ns, "delete table ip weir", "nft", "-f", "-")
	require.Error(t, err, "it is owned again")
	less := build(rules.Options{}, service("one", "10.10.1.1", 80, "192.168.10.1:80"))
	install(t, second, less)
	require.Empty(t, rules.Diff(read(t, second), less).String())
}

// Between the death of the owner and its successor anybody may do anything, and the successor repairs it.
func TestOwnerDiesAndTheTableIsChanged(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	first := open(t, ns, OwnAuto)
	want := story()
	install(t, first, want)
	require.NoError(t, first.Close())
	nft(t, ns, "add rule ip weir dispatch accept; delete table ip6 weir")
	second := open(t, ns, OwnAuto)
	state := read(t, second)
	require.Len(t, state.Damage, 2)
	require.NoError(t, second.Apply(t.Context(), rules.Diff(state, want)))
	require.Empty(t, rules.Diff(read(t, second), want).String())
}

// A table that was loaded as text belongs to nobody and cannot be taken over: it is made anew, in one transaction.
func TestOwnerReplacesAnUnownedTable(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	want := story()
	nft(t, ns, Text(want))
	d := open(t, ns, OwnAuto)
	state := read(t, d)
	require.Len(t, state.Damage, 2)
	require.Contains(t, state.Damage[0].What, "belongs to nobody")
	require.NoError(t, d.Apply(t.Context(), rules.Diff(state, want)))
	require.Empty(t, rules.Diff(read(t, d), want).String())
	nft(t, ns, "flush ruleset")
	require.Empty(t, rules.Diff(read(t, d), want).String())
}

// The other way round: who does not own adopts what a dead owner left, and a text is as good as the driver's own.
func TestPlainAdopts(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	want := story()
	owner := open(t, ns, OwnAuto)
	install(t, owner, want)
	require.NoError(t, owner.Close())
	require.Zero(t, rules.Diff(read(t, open(t, ns, OwnOff)), want).Writes())
	nft(t, ns, "flush ruleset\n"+Text(want))
	require.Zero(t, rules.Diff(read(t, open(t, ns, OwnOff)), want).Writes())
}

// VIPs give way to the pool that covers them, and come back, in one transaction each: the sets never overlap.
func TestPoolsReplaceAddresses(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	d := open(t, ns, OwnAuto)
	draft := cluster.NewDraft()
	for _, s := range []*cluster.Service{service("a", "10.10.1.0 fd10::", 80), service("b", "10.10.1.1 fd10::1", 80), service("c", "10.10.1.3", 80), service("d", "255.255.255.254", 80)} {
		s.ModRevision = 1
		draft.Service(s.Name, s)
	}
	state := read(t, d)
	for i, pools := range []string{"", "10.10.1.0/30 fd10::/64", "", "10.10.0.0/16", "10.10.1.0/31 10.10.1.2/31", "10.10.1.0/30 fd10::/127", "128.0.0.0/1 fd10::/128", ""} {
		config := &cluster.Config{}
		for pool := range strings.FieldsSeq(pools) {
			config.VIPPools = append(config.VIPPools, prefix(pool))
		}
		draft.Config(config)
		want := rules.Build(nil, draft.Snapshot(int64(i+2)), rules.Options{})
		plan := rules.Diff(state, want)
		require.NoError(t, d.Apply(t.Context(), plan), "%s", plan)
		state = read(t, d)
		require.Empty(t, state.Damage)
		require.Empty(t, rules.Diff(state, want).String(), "%q", pools)
	}
}

// What users write is never in the kernel: not in a name, not in a comment.
func TestNoUserTextReachesTheKernel(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	const evil = `x"; add table ip pwned; #`
	s := with(service(evil, "10.10.1.1 fd10::1", 80, "192.168.10.1:80*3", "192.168.10.2:80"), func(s *cluster.Service) {
		s.Ports[0].Name = evil
		for i := range s.Instances {
			s.Instances[i].Labels = map[string]string{evil: evil + "\n-F OUTPUT"}
		}
		s.Instances[1].ID = evil // which takes it out
	})
	want := build(rules.Options{}, s)
	require.NotContains(t, Text(want), "pwned")
	require.NotContains(t, Text(want), "OUTPUT")
	d := open(t, ns, OwnOff)
	install(t, d, want)
	require.Contains(t, listing(t, ns), "192.168.10.1")
	for _, command := range [][]string{{"nft", "list", "ruleset"}, {"nft", "-j", "list", "ruleset"}} {
		out, err := inside(ns, "", command...)
		require.NoError(t, err)
		require.NotContains(t, out, "pwned")
	}
	nft(t, ns, "flush ruleset\n"+Text(want))
	require.NotContains(t, listing(t, ns), "pwned")
}

// Without CAP_NET_ADMIN there is an answer that can be asked for. The test binary runs itself as nobody.
func TestPermission(t *testing.T) {
	t.Parallel()
	if os.Getenv("WEIR_TEST_PERMISSION") != "" {
		_, err := New(Options{})
		require.ErrorIs(t, err, rules.ErrPermission)
		require.Contains(t, err.Error(), "CAP_NET_ADMIN")
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestPermission$", "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), "WEIR_TEST_PERMISSION=1")
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "--- PASS: TestPermission")
}
