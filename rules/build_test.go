package rules_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// service is one with a TCP frontend, and instances as ADDRESS or with a weight.
func service(name, vip string, instances ...cluster.Instance) *cluster.Service {
	return &cluster.Service{
		Name: name, CreateRevision: 1, VIPs: []netip.Addr{netip.MustParseAddr(vip)},
		Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Instances: instances,
	}
}

// sleeper is launched and has no instance.
func sleeper(name, vip string, sources ...string) *cluster.Service {
	s := service(name, vip)
	s.Run, s.Scale, s.Sources = &cluster.Run{Command: []string{"/bin/a"}}, &cluster.Scale{Max: 2}, prefixes(sources...)
	return s
}

func instance(address string, weight int) cluster.Instance {
	i, err := cluster.ParseInstance(address)
	if err != nil {
		panic(err)
	}
	i.Weight = weight
	return i
}

func snapshot(services ...*cluster.Service) *cluster.Snapshot {
	draft := cluster.NewDraft()
	for i, s := range services {
		s.ModRevision = int64(i + 2)
		draft.Service(s.Name, s)
	}
	return draft.Snapshot(int64(len(services) + 2))
}

func frontendOf(s *cluster.Service) cluster.Frontend { return s.Frontends()[0] }

// balancers is everything that a ruleset says about frontends, as values.
func balancers(r *rules.Ruleset) map[cluster.Frontend]rules.Balancer {
	out := map[cluster.Frontend]rules.Balancer{}
	for f, b := range r.Balancers.All() {
		out[f] = *b
	}
	return out
}

func equal(t require.TestingT, want, have *rules.Ruleset) {
	require.Equal(t, balancers(want), balancers(have))
	require.Equal(t, want.Sets, have.Sets)
	require.Equal(t, want.Local, have.Local)
	require.Equal(t, want.Problems, have.Problems)
	require.Equal(t, want.Slots(), have.Slots())
	require.Equal(t, want.String(), have.String())
}

// options draws what a host may say; a budget of 300 is crossed every now and then.
func options(t *rapid.T) rules.Options {
	return rules.Options{
		KeepSource: rapid.SampledFrom([][]netip.Prefix{nil, prefixes("192.168.10.0/29")}).Draw(t, "keep"),
		Links:      prefixes("192.168.10.0/24"),
		Budget:     rapid.SampledFrom([]int{0, 300}).Draw(t, "budget"),
		Node:       rapid.SampledFrom(append([]string{""}, rulestest.Nodes...)).Draw(t, "node"),
		Ping:       rapid.Bool().Draw(t, "ping"),
		NoTables:   rapid.Bool().Draw(t, "no tables"),
	}
}

func TestBuildOnWhatIsThereEqualsFromScratch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clusters, o := rulestest.NewClusters(), options(t)
		var built *rules.Ruleset
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			if next := clusters.Next(t); rapid.IntRange(0, 2).Draw(t, "skipped") > 0 {
				built = rules.Build(built, next, o)
				equal(t, rules.Build(nil, next, o), built)
			}
		}
		equal(t, rules.Build(nil, clusters.Replayed(t), o), rules.Build(built, clusters.Same(), o))
	})
}

// The same Ruleset in all respects that matter must come out of other options too: they start from scratch.
func TestBuildWithOtherOptions(t *testing.T) {
	t.Parallel()
	s := snapshot(service("a", "10.10.1.1", instance("192.168.10.1:80", 1)))
	before := rules.Build(nil, s, rules.Options{})
	o := rules.Options{KeepSource: prefixes("192.168.10.0/24"), Links: prefixes("192.168.10.0/24")}
	after := rules.Build(before, s, o)
	equal(t, rules.Build(nil, s, o), after)
	require.Equal(t, prefixes("192.168.10.1/32"), after.Sets[rules.Hairpin])
	require.Equal(t, prefixes("192.168.10.0/24"), after.Sets[rules.SameLink])
	require.Empty(t, before.Sets[rules.SameLink], "neighbours are masqueraded with everybody else")
}

func TestBuildKeepsPointers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clusters, o := rulestest.NewClusters(), rules.Options{}
		before := rules.Build(nil, clusters.Next(t), o)
		for range 5 {
			after := rules.Build(before, clusters.Next(t), o)
			values := balancers(before)
			for f, b := range after.Balancers.All() {
				old, was := before.Balancers.Get(f)
				require.Equal(t, was && equalBalancer(values[f], *b), old == b, "%s: a pointer must change exactly when the balancer does", f)
			}
			before = after
		}
	})
}

func equalBalancer(a, b rules.Balancer) bool {
	return a.Service == b.Service && a.Mode == b.Mode && slices.Equal(a.Shares, b.Shares) && slices.Equal(a.Table, b.Table) &&
		a.Guarded == b.Guarded && slices.Equal(a.Sources, b.Sources)
}

// All nodes must fill an affinity table alike, in whatever order they heard of the instances.
func TestBuildAffinityDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var instances []cluster.Instance
		for i := range rapid.IntRange(1, 30).Draw(t, "n") {
			instances = append(instances, instance(fmt.Sprintf("192.168.10.%d:80", i+1), rapid.IntRange(1, 10).Draw(t, "weight")))
		}
		a, b := service("a", "10.10.1.1", instances...), service("a", "10.10.1.1", slices.Clone(instances)...)
		a.Affinity, b.Affinity = cluster.AffinitySource, cluster.AffinitySource
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)).Shuffle(len(instances), func(i, j int) {
			b.Instances[i], b.Instances[j] = b.Instances[j], b.Instances[i]
		})
		equal(t, rules.Build(nil, snapshot(a), rules.Options{}), rules.Build(nil, snapshot(b), rules.Options{}))
	})
}

func TestBuildBalancers(t *testing.T) {
	t.Parallel()
	one, two, three := instance("192.168.10.1:80", 1), instance("192.168.10.2:80", 1), instance("192.168.10.3:80", 2)
	share := func(address string, slots int) rules.Share {
		return rules.Share{Target: netip.MustParseAddrPort(address), Slots: slots}
	}
	for _, c := range []struct {
		name   string
		change func(*cluster.Service)
		mode   rules.Mode
		slots  int
		shares []rules.Share
	}{
		{"equal", func(s *cluster.Service) { s.Instances = []cluster.Instance{one, two} }, rules.Random, 2, []rules.Share{share("192.168.10.1:80", 1), share("192.168.10.2:80", 1)}},
		{"weighted", func(s *cluster.Service) {}, rules.Random, 4, []rules.Share{share("192.168.10.1:80", 1), share("192.168.10.2:80", 1), share("192.168.10.3:80", 2)}},
		{"uniform", func(s *cluster.Service) { s.Balance = cluster.BalanceUniform }, rules.Random, 3, []rules.Share{share("192.168.10.1:80", 1), share("192.168.10.2:80", 1), share("192.168.10.3:80", 1)}},
		{"adaptive", func(s *cluster.Service) { s.Balance = cluster.BalanceAdaptive }, rules.Random, 256, []rules.Share{share("192.168.10.1:80", 64), share("192.168.10.2:80", 64), share("192.168.10.3:80", 128)}},
		{"nobody", func(s *cluster.Service) { s.Instances = nil }, rules.Refuse, 0, nil},
		{"nobody of the family", func(s *cluster.Service) { s.Instances = []cluster.Instance{instance("[fd00::1]:80", 1)} }, rules.Refuse, 0, nil},
		{"source", func(s *cluster.Service) { s.Affinity = cluster.AffinitySource }, rules.Source, 2048, []rules.Share{share("192.168.10.1:80", 518), share("192.168.10.2:80", 517), share("192.168.10.3:80", 1013)}},
		{"two instances on one port of one address", func(s *cluster.Service) {
			s.Instances = nil
			for _, id := range []string{"x", "y"} {
				i := cluster.Instance{ID: id, Addr: netip.MustParseAddr("192.168.10.1"), Ports: map[string]uint16{"web": 80}, Weight: 2}
				s.Instances = append(s.Instances, i)
			}
			s.Ports[0].Name = "web"
		}, rules.Random, 1, []rules.Share{share("192.168.10.1:80", 1)}},
	} {
		s := service("a", "10.10.1.1", one, two, three)
		c.change(s)
		b, ok := rules.Build(nil, snapshot(s), rules.Options{}).Balancers.Get(frontendOf(s))
		require.True(t, ok, c.name)
		require.Equal(t, c.mode, b.Mode, c.name)
		require.Equal(t, c.slots, b.Slots(), c.name)
		require.Equal(t, c.shares, b.Shares, c.name)
		require.False(t, b.Leads(netip.MustParseAddrPort("192.168.10.99:80")))
		for _, share := range c.shares {
			require.True(t, b.Leads(share.Target), c.name)
		}
	}
}

// Weights of an adaptive service move as data: its frontends keep their size.
func TestBuildAdaptiveKeepsItsSize(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := service("a", "10.10.1.1")
		s.Balance = cluster.BalanceAdaptive
		for i := range rapid.IntRange(1, 40).Draw(t, "n") {
			s.Instances = append(s.Instances, instance(fmt.Sprintf("192.168.10.%d:80", i+1), 1))
		}
		draft := cluster.NewDraft()
		draft.Service(s.Name, s)
		have, built := rules.NewState(), rules.Build(nil, draft.Snapshot(2), rules.Options{})
		have.Commit(rules.Diff(have, built))
		for revision := range int64(5) {
			shares := map[string]int{}
			for _, i := range s.Instances {
				shares[i.ID] = rapid.IntRange(1, 1_000_000).Draw(t, "share")
			}
			draft.Weights(s.Name, &cluster.Weights{Share: shares})
			built = rules.Build(built, draft.Snapshot(revision+3), rules.Options{})
			plan := rules.Diff(have, built)
			for _, c := range plan.Changes {
				require.False(t, c.EntryChanges(), "%s", c)
				require.Empty(t, c.SlotsIn(1), "%s", c)
			}
			have.Commit(plan)
		}
	})
}

func TestBuildBudget(t *testing.T) {
	t.Parallel()
	var services []*cluster.Service
	for i := range 10 {
		services = append(services, service(fmt.Sprintf("s%d", i), fmt.Sprintf("10.10.1.%d", i+1),
			instance("192.168.10.1:80", 997), instance("192.168.10.2:80", 101), instance("192.168.10.3:80", 13)))
	}
	within := rules.Build(nil, snapshot(services...), rules.Options{Budget: 10 * 256})
	require.Empty(t, within.Problems)
	need := within.Slots()
	require.Greater(t, need, 10*8)

	exact := rules.Build(nil, snapshot(services...), rules.Options{Budget: need})
	require.Empty(t, exact.Problems, "the budget itself is allowed")

	tight := rules.Build(nil, snapshot(services...), rules.Options{Budget: need - 1})
	require.Equal(t, 10*8, tight.Slots(), "twice the targets, to the next power of two")
	require.Len(t, tight.Problems, 1)
	require.Contains(t, tight.Problems[0].What, fmt.Sprint(need-1))

	// Within the budget again because nobody is left: nothing of what was may stay.
	equal(t, rules.Build(nil, snapshot(), rules.Options{Budget: need - 1}), rules.Build(tight, snapshot(), rules.Options{Budget: need - 1}))

	// One service less, and the others get their slots back.
	again := rules.Build(tight, snapshot(services[1:]...), rules.Options{Budget: need - 1})
	equal(t, rules.Build(nil, snapshot(services[1:]...), rules.Options{Budget: need - 1}), again)
	require.Empty(t, again.Problems)
	require.Equal(t, need/10*9, again.Slots())
}

// Every address of a pool is refused that is no frontend: a pool that may hold real hosts must not get into the kernel.
func TestBuildLeavesOutUnusablePools(t *testing.T) {
	t.Parallel()
	draft := cluster.NewDraft()
	draft.Service("a", service("a", "10.10.1.1"))
	draft.Config(&cluster.Config{
		VIPPools:         append(prefixes("10.10.1.0/24", "10.20.0.0/16", "10.30.0.1/16", "0.0.0.0/0"), netip.Prefix{}),
		InstanceNetworks: prefixes("10.20.5.0/24"),
	})
	r := rules.Build(nil, draft.Snapshot(2), rules.Options{})
	require.Equal(t, prefixes("10.10.1.0/24"), r.Sets[rules.VIPs])
	var fields []string
	for _, p := range r.Problems {
		fields = append(fields, p.Field)
	}
	require.Subset(t, fields, []string{"vip_pools[1]", "vip_pools[2]", "vip_pools[3]", "vip_pools[4]"})
	require.NotContains(t, fields, "vip_pools[0]")
}

func TestBuildVIPs(t *testing.T) {
	t.Parallel()
	a, b := service("a", "10.10.1.1"), service("b", "fd10::1")
	require.Equal(t, prefixes("10.10.1.1/32", "fd10::1/128"), rules.Build(nil, snapshot(a, b), rules.Options{}).Sets[rules.VIPs])
}
