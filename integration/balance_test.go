package integration

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/internal/stats"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

// TestSlots looks at what the kernel holds, by its own listing: it chooses a slot at random, so the slots are the shares.
func TestSlots(t *testing.T) {
	t.Parallel()
	w := world(t, Options{})
	address := func(i int) string { return fmt.Sprintf("192.168.10.%d:%d", 100+i%100, 80+i/100) } // nobody has to live there
	want := map[cluster.Frontend]map[netip.AddrPort]int{}
	var services []*cluster.Service
	add := func(s *cluster.Service, slots func(i int) int) {
		f := s.Frontends()[0]
		want[f] = map[netip.AddrPort]int{}
		for i, instance := range s.Instances {
			want[f][netip.MustParseAddrPort(instance.Address())] = slots(i)
		}
		services = append(services, s)
	}
	for n := 1; n <= 64; n++ {
		var instances []string
		for i := range n {
			instances = append(instances, address(i))
		}
		add(Service(fmt.Sprintf("equal-%d", n), w.Frontend(cluster.TCP, false), instances...), func(int) int { return 1 })
	}
	for name, weights := range map[string][]int{
		"one-two": {1, 2}, "reduced": {300, 100}, "three": {5, 3, 2}, "one-of-a-hundred": {1, 99}, "equal-heavy": {7, 7, 7},
	} {
		divisor := map[string]int{"reduced": 100, "equal-heavy": 7}[name]
		var instances []string
		for i, weight := range weights {
			instances = append(instances, fmt.Sprintf("%s*%d", address(i), weight))
		}
		add(Service(name, w.Frontend(cluster.UDP, false), instances...), func(i int) int { return weights[i] / max(1, divisor) })
	}
	w.Publish(services...)
	require.Equal(t, want, w.Slots(w.Nodes[0]))
	// Where the weights have no exact form of bearable size, each share stays within half a point or a tenth of itself.
	odd := []int{1000, 997, 13, 501, 1}
	var instances []string
	for i, weight := range odd {
		instances = append(instances, fmt.Sprintf("%s*%d", address(i), weight))
	}
	f := w.Frontend(cluster.TCP, false)
	w.Publish(Service("odd", f, instances...))
	got, sum, total := w.Slots(w.Nodes[0])[f], 0, 0
	for i, weight := range odd {
		sum += weight
		total += got[netip.MustParseAddrPort(address(i))]
	}
	for i, weight := range odd {
		share := float64(weight) / float64(sum)
		require.InDelta(t, share, float64(got[netip.MustParseAddrPort(address(i))])/float64(total), max(0.005, 0.1*share), "%v", got)
	}
}

// alpha is the chance that a sound spread is called wrong.
const alpha = 1e-5

// TestSpread opens 50,000 connections and requires that their spread is what chance makes of equal shares. That this test
// would find wrong shares is tested as well: with rules that are off by a tenth on purpose.
func TestSpread(t *testing.T) {
	const connections = 50_000
	w := world(t, Options{Nodes: 2, Instances: 4, Idle: true})
	w.Agents[0].Start()
	w.AwaitAgents(1)
	for port := range uint16(16) {
		for _, host := range w.Instances {
			w.Serve(host, 80+port, false)
		}
	}
	for _, n := range []int{3, 7, 64} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := w.With(t)
			var instances []string
			right, wrong := map[string]int{}, map[string]int{}
			for i := range n {
				address := netip.AddrPortFrom(w.Instances[i%4].Addr4, uint16(80+i/4)).String()
				instances = append(instances, address)
				right[address], wrong[address] = 1, wrongSlots(n, i)
			}
			f := w.Frontend(cluster.TCP, false)
			s := Service(fmt.Sprintf("spread-%d", n), f, instances...)
			w.Publish(s)
			sound := w.meet(w.Client, f, connections)
			p := stats.ChiSquareP(sound, right)

			w.misplace(w.Nodes[1], s, wrong)
			require.NoError(t, w.RouteVIPs(w.Client, w.Nodes[1], VIPs4))
			defer func() { require.NoError(t, w.RouteVIPs(w.Client, w.Nodes[0], VIPs4)) }()
			unsound := w.meet(w.Client, f, connections)
			q := stats.ChiSquareP(unsound, right)

			t.Logf("%d instances, %d connections: p = %.3g; shares off by a tenth: p = %.3g; of 1000 computed runs with those %.1f %% fall below %g",
				n, connections, p, q, 100*stats.Power(right, wrong, connections, 1000, alpha), alpha)
			require.Len(t, sound, n)
			require.Greater(t, p, alpha, "%v", sound)
			require.Less(t, q, alpha, "rules that are wrong on purpose pass: %v", unsound)
		})
	}
}

// meet opens connections, hundreds at once, and counts whom they met. None may fail. One thread opens them all, which costs
// much less of the processor than Flood does.
func (w *World) meet(from *lab.Host, f cluster.Frontend, connections int) (byID map[string]int) {
	w.t.Helper()
	byID = map[string]int{}
	for left := connections; left > 0; {
		n := min(left, 250)
		left -= n
		answers, err := lab.Arrive(w.t.Context(), from.Namespace, lab.Arrivals{Frontend: Address(f), Due: make([]time.Duration, n)})
		require.NoError(w.t, err)
		for _, a := range answers {
			if a.Err != nil {
				require.NoError(w.t, a.Err, "from %s to %s", from.Name(), f)
			}
			byID[a.ID]++
		}
	}
	return byID
}

// wrongSlots of instance i of n: for few instances the first has 1.1/n and the others share what is left, for many they
// have alternately 1.1/n and 0.9/n.
func wrongSlots(n, i int) int {
	switch {
	case n > 10 && i%2 == 0:
		return 11
	case n > 10:
		return 9
	case i == 0:
		return 11 * (n - 1)
	}
	return 10*n - 11
}

// misplace installs a service on a node without agent, with these slots.
func (w *World) misplace(node *lab.Host, s *cluster.Service, slots map[string]int) {
	w.t.Helper()
	wrong := &rules.Balancer{Service: s.Name, Mode: rules.Random}
	for _, instance := range s.Instances {
		wrong.Shares = append(wrong.Shares, rules.Share{Target: netip.MustParseAddrPort(instance.Address()), Slots: slots[instance.Address()]})
	}
	want := ruleset(s)
	edit := want.Balancers.Edit()
	edit.Set(s.Frontends()[0], wrong)
	want.Balancers = edit.Map()
	driver := w.driver(node)
	install(w.t, driver, want)
	got := w.Slots(node)[s.Frontends()[0]]
	require.Len(w.t, got, len(slots))
	for address, n := range slots {
		require.Equal(w.t, n, got[netip.MustParseAddrPort(address)])
	}
	require.NoError(w.t, driver.Close()) // the table stays
}

// ruleset is what an agent would want for these services alone.
func ruleset(services ...*cluster.Service) *rules.Ruleset {
	draft := cluster.NewDraft()
	for i, s := range services {
		s.CreateRevision, s.ModRevision = int64(i+1), int64(i+1)
		draft.Service(s.Name, s)
	}
	return rules.Build(nil, draft.Snapshot(1000), rules.Options{})
}

// driver is an nft driver in this process that works on a node.
func (w *World) driver(node *lab.Host) *nft.Driver {
	w.t.Helper()
	d, err := nft.New(nft.Options{NetNS: int(node.Netns())})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = d.Close() })
	return d
}

// install brings a kernel to what is wanted, and returns its state.
func install(t TB, d *nft.Driver, want *rules.Ruleset) *rules.State {
	t.Helper()
	have, err := d.Read(context.Background())
	require.NoError(t, err)
	problems, err := rules.Carry(context.Background(), d, have, rules.Diff(have, want))
	require.NoError(t, err)
	require.Empty(t, problems)
	return have
}

func TestWrongSlots(t *testing.T) {
	for _, n := range []int{3, 7, 64} {
		sum, first := 0, wrongSlots(n, 0)
		for i := range n {
			sum += wrongSlots(n, i)
		}
		require.InDelta(t, 1.1, float64(first*n)/float64(sum), 1e-9, strings.Repeat("n", n))
	}
}
