package nft

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
)

// road is a client whose way to the VIPs leads through one node, and three instances that name themselves.
type road struct {
	*lab.Cluster
	t       *testing.T
	d       *Driver
	sources []netip.Addr
	names   map[netip.AddrPort]string
}

func newRoad(t *testing.T) *road {
	c, err := lab.NewCluster(lab.Test(t), 1, 3)
	require.NoError(t, err)
	r := &road{Cluster: c, t: t, names: map[netip.AddrPort]string{}}
	r.d = open(t, int(c.Nodes[0].Netns()), OwnAuto)
	for i, host := range c.Instances {
		name := fmt.Sprintf("i%d", i+1)
		addresses := []netip.AddrPort{netip.AddrPortFrom(host.Addr4, 80), netip.AddrPortFrom(host.Addr6, 80)}
		instance, err := lab.Serve(host.Namespace, name, addresses...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = instance.Close() })
		for _, a := range addresses {
			r.names[a] = name
		}
	}
	require.NoError(t, c.RouteVIPs(c.Client, c.Nodes[0], prefix("10.10.1.0/24"), prefix("fd10::/64")))
	for i := range 24 {
		for _, text := range []string{fmt.Sprintf("192.168.10.%d/24", 60+i), fmt.Sprintf("fd00:10::%x/64", 0x600+i*i*37)} {
			p := prefix(text)
			command := []string{"address", "add", text, "dev", "eth0"}
			if p.Addr().Is6() {
				command = append(command, "nodad") // usable at once
			}
			out, err := c.Client.Output("ip", command...)
			require.NoError(t, err, string(out))
			r.sources = append(r.sources, p.Addr())
		}
	}
	return r
}

func (r *road) connect(f cluster.Frontend, source netip.Addr, n int) lab.Result {
	result, err := lab.Flood(r.t.Context(), r.Client.Namespace, lab.Load{
		Frontend: netip.AddrPortFrom(f.VIP, f.Port), Network: f.Proto.String(), Connections: n, Source: source,
	})
	require.NoError(r.t, err)
	return result
}

func frontend(s string) cluster.Frontend {
	f, err := cluster.ParseFrontend(s)
	if err != nil {
		panic(err)
	}
	return f
}

// The virtual packet and the true one end at the same place. With source affinity that is one certain instance for each
// client, by our copy of the kernel's hash.
func TestTraceAgreesWithTheKernel(t *testing.T) {
	r := newRoad(t)
	all := []string{"192.168.10.100:80", "192.168.10.101:80", "192.168.10.102:80", "[fd00:10::100]:80", "[fd00:10::101]:80", "[fd00:10::102]:80"}
	sticky := with(service("sticky", "10.10.1.1 fd10::1", 80, all...), func(s *cluster.Service) { s.Affinity = cluster.AffinitySource })
	single := service("single", "10.10.1.2 fd10::2", 80, all[1], all[4])
	empty := service("empty", "10.10.1.3 fd10::3", 80)
	udp := with(service("udp", "10.10.1.4 fd10::4", 80, all[2], all[5]), func(s *cluster.Service) { s.Ports[0].Protocol = cluster.UDP })
	some, shut := service("some", "10.10.1.6 fd10::6", 80, all[1], all[4]), service("shut", "10.10.1.7 fd10::7", 80)
	for _, s := range []*cluster.Service{some, shut} {
		s.Sources = []netip.Prefix{prefix("192.168.10.64/28"), prefix("fd00:10::/116")}
	}
	state := install(t, r.d, build(rules.Options{}, sticky, single, empty, udp, some, shut))
	met := map[string]int{}
	for _, to := range []string{
		"10.10.1.1:80", "[fd10::1]:80", "10.10.1.2:80", "[fd10::2]:80", "10.10.1.4:80/udp", "[fd10::4]:80/udp",
		"10.10.1.3:80", "[fd10::3]:80", "10.10.1.1:81", "[fd10::1]:81", "10.10.1.4:80", "[fd10::4]:80",
		"10.10.1.6:80", "[fd10::6]:80", "10.10.1.7:80", "[fd10::7]:80",
	} {
		f := frontend(to)
		for _, source := range r.sources {
			if source.Is4() != f.VIP.Is4() {
				continue
			}
			v := rules.Trace(state, rules.Packet{Source: source, To: f})
			result := r.connect(f, source, 1)
			switch v.Outcome {
			case rules.Sent:
				require.Equal(t, map[string]int{r.names[v.Target]: 1}, result.ByID, "%s -> %s: %s", source, to, result)
				met[r.names[v.Target]]++
			case rules.Refused:
				require.Equal(t, map[string]int{"refused": 1}, result.Failures, "%s -> %s: %s", source, to, result)
			default:
				require.Fail(t, "neither sent nor refused", "%s -> %s: %v", source, to, v)
			}
		}
	}
	require.Len(t, met, 3, "affinity that always leads to one instance tells nothing")
}

// Attempts that a guard refuses are counted by frontend, those that it lets pass are not.
func TestRefused(t *testing.T) {
	r := newRoad(t)
	some := service("some", "10.10.1.6 fd10::6", 80, "192.168.10.100:80", "[fd00:10::100]:80")
	some.Sources = []netip.Prefix{prefix("192.168.10.64/28"), prefix("fd00:10::/116")}
	install(t, r.d, build(rules.Options{}, some))
	counts := func() map[cluster.Frontend]uint64 {
		got, err := r.d.Refused(t.Context())
		require.NoError(t, err)
		return got
	}
	require.Empty(t, counts())
	four, six := frontend("10.10.1.6:80"), frontend("[fd10::6]:80")
	require.Equal(t, 7, r.connect(four, netip.MustParseAddr("192.168.10.70"), 7).Good())
	require.Equal(t, 5, r.connect(four, netip.MustParseAddr("192.168.10.60"), 5).Failed)
	require.Equal(t, 3, r.connect(six, netip.MustParseAddr("fd00:10::5275"), 3).Failed) // the last one of the road
	require.Equal(t, map[cluster.Frontend]uint64{four: 5, six: 3}, counts())

	// Other sources: the count goes on.
	some.Sources[0] = prefix("192.168.10.60/32")
	install(t, r.d, build(rules.Options{}, some))
	require.Equal(t, 2, r.connect(four, netip.MustParseAddr("192.168.10.60"), 2).Good())
	require.Equal(t, 1, r.connect(four, netip.MustParseAddr("192.168.10.70"), 1).Failed)
	require.Equal(t, uint64(6), counts()[four])
}

func TestCounters(t *testing.T) {
	r := newRoad(t)
	a, b := "192.168.10.100:80", "192.168.10.101:80"
	state := install(t, r.d, build(rules.Options{},
		service("web", "10.10.1.1 fd10::1", 80, a+"*3", b+"*1", "[fd00:10::100]:80"), service("empty", "10.10.1.3", 80), service("idle", "10.10.1.4", 80, a)))
	require.Len(t, state.Placed, 4)
	four, six, none := frontend("10.10.1.1:80"), frontend("[fd10::1]:80"), frontend("10.10.1.3:80")
	result := r.connect(four, netip.Addr{}, 200)
	require.Equal(t, 200, result.Good(), "%s", result)
	r.connect(six, netip.Addr{}, 7)
	r.connect(none, netip.Addr{}, 5)

	looking := open(t, int(r.Nodes[0].Netns()), ReadOnly)
	counts, err := looking.Counters(t.Context())
	require.NoError(t, err)
	target := netip.MustParseAddrPort
	require.Equal(t, map[cluster.Frontend]map[netip.AddrPort]uint64{
		four:                     {target(a): uint64(result.ByID["i1"]), target(b): uint64(result.ByID["i2"])},
		six:                      {target("[fd00:10::100]:80"): 7},
		none:                     {{}: 5},
		frontend("10.10.1.4:80"): {target(a): 0},
	}, counts)

	require.NoError(t, r.d.Clean(t.Context()))
	counts, err = looking.Counters(t.Context())
	require.NoError(t, err)
	require.Empty(t, counts)
}
