package traffic

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

var instances = []string{"192.168.10.100:80", "192.168.10.101:80", "192.168.10.102:80", "[fd00:10::100]:80", "[fd00:10::101]:80", "[fd00:10::102]:80"}

func udp(s *cluster.Service) { s.Ports[0].Protocol = cluster.UDP }

// TestDriver runs the whole suite, each part beside the others. Open makes the driver in a network namespace, look one that
// only looks; rounds is how often it writes while it counts.
func TestDriver(t *testing.T, open, look func(t testing.TB, ns int) Driver, rounds int) {
	part := func(name string, run func(*testing.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
	part("trace", func(t *testing.T) { TestTrace(t, NewRoad(t, open)) })
	part("counters", func(t *testing.T) {
		r := NewRoad(t, open)
		TestCounters(t, r, look(t, int(r.Node.Netns())))
	})
	part("sources", func(t *testing.T) { TestSources(t, NewRoad(t, open)) })
	part("hold", func(t *testing.T) { TestHold(t, NewRoad(t, open)) })
	part("refusal", func(t *testing.T) { TestRefusal(t, NewRoad(t, open)) })
	part("counting beside writes", func(t *testing.T) { TestCountingBesideWrites(t, open(t, rulestest.Namespace(t)), rounds) })
}

// TestTrace requires that the virtual packet and the true one end at the same place. With source affinity that is one
// certain instance for each client, by our copy of the kernel's hash.
func TestTrace(t *testing.T, r *Road) {
	r.AddSources(24)
	sticky := rulestest.With(rulestest.Service("sticky", "10.10.1.1 fd10::1", 80, instances...), func(s *cluster.Service) { s.Affinity = cluster.AffinitySource })
	single := rulestest.Service("single", "10.10.1.2 fd10::2", 80, instances[1], instances[4])
	empty := rulestest.Service("empty", "10.10.1.3 fd10::3", 80)
	datagrams := rulestest.With(rulestest.Service("udp", "10.10.1.4 fd10::4", 80, instances[2], instances[5]), udp)
	rulestest.Install(t, r.Driver, rulestest.Ruleset(rules.Options{}, sticky, single, empty, datagrams))
	state, err := r.Driver.Read(t.Context())
	require.NoError(t, err)
	met := map[string]int{}
	for _, to := range []string{
		"10.10.1.1:80", "[fd10::1]:80", "10.10.1.2:80", "[fd10::2]:80", "10.10.1.4:80/udp", "[fd10::4]:80/udp",
		"10.10.1.3:80", "[fd10::3]:80", "10.10.1.1:81", "[fd10::1]:81", "10.10.1.4:80", "[fd10::4]:80",
	} {
		f := rulestest.Frontend(to)
		for _, source := range r.Sources {
			if source.Is4() != f.VIP.Is4() {
				continue
			}
			v := rules.Trace(state, rules.Packet{Source: source, To: f})
			result := r.Connect(r.Client, f, source, 1)
			switch v.Outcome {
			case rules.Sent:
				require.Equal(t, map[string]int{r.Names[v.Target]: 1}, result.ByID, "%s -> %s: %s", source, to, result)
				met[r.Names[v.Target]]++
			case rules.Refused:
				require.Equal(t, map[string]int{"refused": 1}, result.Failures, "%s -> %s: %s", source, to, result)
			default:
				require.Fail(t, "neither sent nor refused", "%s -> %s: %v", source, to, v)
			}
		}
	}
	require.Len(t, met, 3, "affinity that always leads to one instance tells nothing")
}

// TestCounters requires that each connection is counted, at its frontend and target.
func TestCounters(t *testing.T, r *Road, looking Driver) {
	a, b := instances[0], instances[1]
	state := rulestest.Install(t, r.Driver, rulestest.Ruleset(rules.Options{},
		rulestest.Service("web", "10.10.1.1 fd10::1", 80, a+"*3", b+"*1", instances[3]), rulestest.Service("empty", "10.10.1.3", 80), rulestest.Service("idle", "10.10.1.4", 80, a)))
	require.Len(t, state.Placed, 4)
	four, six, none := rulestest.Frontend("10.10.1.1:80"), rulestest.Frontend("[fd10::1]:80"), rulestest.Frontend("10.10.1.3:80")
	result := r.Connect(r.Client, four, netip.Addr{}, 200)
	require.Equal(t, 200, result.Good(), "%s", result)
	r.Connect(r.Client, six, netip.Addr{}, 7)
	var counts map[cluster.Frontend]map[netip.AddrPort]uint64
	r.Refuses(none, netip.Addr{}, 5, func() uint64 {
		var err error
		counts, err = looking.Counters(t.Context())
		require.NoError(t, err)
		return counts[none][netip.AddrPort{}]
	})
	target := netip.MustParseAddrPort
	require.Equal(t, map[cluster.Frontend]map[netip.AddrPort]uint64{
		four:                               {target(a): uint64(result.ByID["i1"]), target(b): uint64(result.ByID["i2"])},
		six:                                {target(instances[3]): 7},
		none:                               {{}: counts[none][netip.AddrPort{}]},
		rulestest.Frontend("10.10.1.4:80"): {target(a): 0},
	}, counts)

	require.NoError(t, r.Driver.Clean(t.Context()))
	counts, err := looking.Counters(t.Context())
	require.NoError(t, err)
	require.Empty(t, counts)
}

// TestRefusal requires that whoever asks for what is not there is told at once, from the node and through it, also where
// the node itself listens on that port: nothing sent to a VIP ever reaches it.
func TestRefusal(t *testing.T, r *Road) {
	r.RouteLocally()
	for _, address := range []string{"[::]:81", "[::]:1"} { // both families
		l, err := r.Node.Listen("tcp", address)
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		p, err := r.Node.ListenPacket("udp", address)
		require.NoError(t, err)
		t.Cleanup(func() { p.Close() })
	}
	rulestest.Install(t, r.Driver, rulestest.Ruleset(rules.Options{},
		rulestest.Service("web", "10.10.1.1 fd10::1", 80, instances...), rulestest.Service("empty", "10.10.1.3 fd10::3", 81)))
	elapsed := lab.Pulse(t)
	for _, from := range []*lab.Host{r.Client, r.Node} {
		for _, to := range []string{"10.10.1.3:81", "[fd10::3]:81", "10.10.1.1:81", "[fd10::1]:81", "10.10.1.1:1", "[fd10::1]:1"} {
			for _, proto := range []string{"", "/udp"} {
				f := rulestest.Frontend(to + proto)
				result := r.Connect(from, f, netip.Addr{}, 1)
				require.Zero(t, result.Good(), "%s -> %s: %s", from.Name(), f, result)
				require.Zero(t, result.Failures["timeout"], "%s -> %s is left without an answer: %s", from.Name(), f, result)
			}
		}
		require.Equal(t, 30, r.Connect(from, rulestest.Frontend("10.10.1.1:80"), netip.Addr{}, 30).Good())
		require.Equal(t, 30, r.Connect(from, rulestest.Frontend("[fd10::1]:80"), netip.Addr{}, 30).Good())
	}
	require.Less(t, elapsed(), 10*time.Second)
}

// TestSources requires that a guarded service answers those whom it names, and that others are refused and counted; and
// that VIPs answer ping where they shall. What reaches an instance of the node is counted there.
func TestSources(t *testing.T, r *Road) {
	r.RouteLocally()
	r.AddSources(2)
	in4, in6, out4, out6 := r.Sources[0], r.Sources[1], r.Sources[2], r.Sources[3]
	hosted, err := lab.Serve(r.Node.Namespace, "node", netip.AddrPortFrom(r.Node.Addr4, 80), netip.AddrPortFrom(r.Node.Addr6, 80))
	require.NoError(t, err)
	t.Cleanup(func() { _ = hosted.Close() })
	for _, affinity := range []cluster.Affinity{cluster.AffinityNone, cluster.AffinitySource} {
		guarded := rulestest.With(rulestest.Service("guarded", "10.10.1.1 fd10::1", 80, instances...), func(s *cluster.Service) {
			s.Affinity = affinity
			s.Sources = []netip.Prefix{netip.PrefixFrom(in4, 32), netip.PrefixFrom(in6, 128)}
		})
		local := rulestest.Service("local", "10.10.1.2 fd10::2", 80, netip.AddrPortFrom(r.Node.Addr4, 80).String(), netip.AddrPortFrom(r.Node.Addr6, 80).String())
		local.Instances[0].Node, local.Instances[1].Node = "n1", "n1"
		rulestest.Install(t, r.Driver, rulestest.Ruleset(rules.Options{Node: "n1", Ping: true, NoTables: r.Driver.Name() == "ipt"}, guarded, local))
		refused := func(f cluster.Frontend) uint64 {
			counts, err := r.Driver.Refused(t.Context())
			require.NoError(t, err)
			return counts[f]
		}
		for vip, sources := range map[string][2]netip.Addr{"10.10.1.1:80": {in4, out4}, "[fd10::1]:80": {in6, out6}} {
			f := rulestest.Frontend(vip)
			before := refused(f)
			require.Equal(t, 20, r.Connect(r.Client, f, sources[0], 20).Good(), vip)
			require.Equal(t, before, refused(f), vip)
			r.Refuses(f, sources[1], 3, func() uint64 { return refused(f) })
		}
	}
	before, err := r.Driver.LocalCounts(t.Context())
	require.NoError(t, err)
	for _, from := range []*lab.Host{r.Client, r.Node} {
		require.Equal(t, 10, r.Connect(from, rulestest.Frontend("10.10.1.2:80"), netip.Addr{}, 10).Good(), from.Name())
	}
	require.Equal(t, 5, r.Connect(r.Client, cluster.Frontend{VIP: r.Node.Addr4, Proto: cluster.TCP, Port: 80}, netip.Addr{}, 5).Good(), "not through a VIP")
	after, err := r.Driver.LocalCounts(t.Context())
	require.NoError(t, err)
	listener := cluster.Listener{Address: netip.AddrPortFrom(r.Node.Addr4, 80), Proto: cluster.TCP}
	require.Equal(t, uint64(25), after[listener]-before[listener])
	for _, from := range []*lab.Host{r.Client, r.Node} {
		for _, vip := range []string{"10.10.1.2", "fd10::2"} {
			said, err := from.Output("ping", "-c", "1", "-W", "20", vip)
			require.NoError(t, err, "%s: %s", from.Name(), said)
		}
	}
}
