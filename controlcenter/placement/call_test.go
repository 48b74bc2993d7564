package placement

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// machines is a service whose instances somebody else runs: some serve, the others stand by.
func (w *world) machines(name string, always, standby int) {
	w.publish(name, always, func(s *cluster.Service) {
		s.Run = nil
		for i := range always + standby {
			one, err := cluster.ParseInstance(fmt.Sprintf("192.168.20.%d:80", i+1))
			require.NoError(w.t, err)
			one.Standby = i >= always
			s.Instances = append(s.Instances, one)
		}
	})
}

func machineAt(i int) string { return fmt.Sprintf("192.168.20.%d:80", i) }

func TestListsAreCalledAndLetGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.machines("a", 1, 3)
	w.settle(time.Minute, nil)
	require.Equal(t, []string{machineAt(1)}, w.takes("a"))
	w.want["a"] = 3
	w.second()
	require.Equal(t, []string{machineAt(1), machineAt(2), machineAt(3)}, w.takes("a"))
	require.Equal(t, []string{"called 3 are wanted; called " + machineAt(2) + ", " + machineAt(3)}, w.events)
	in, _ := w.snapshot().Services.Get("a")
	states := cluster.Resolve(in).Instances
	require.Equal(t, "called: 3 are wanted", states[1].Reason)
	require.Equal(t, w.now, states[1].Since)
	require.Equal(t, "it stands by until it is needed", states[3].Reason)

	// Publishing again keeps who was called, and what is known of one that left the list does no harm.
	w.publish("a", 3, func(s *cluster.Service) { s.Instances = s.Instances[:3]; s.Balance = cluster.BalanceUniform })
	w.settle(time.Minute, nil)
	require.Len(t, w.takes("a"), 3)
	require.Equal(t, 1, w.told("called"))

	w.want["a"] = 2
	w.settle(time.Minute, nil)
	require.Equal(t, []string{machineAt(1), machineAt(3)}, w.takes("a"), "of two that are alike the first by id goes")
	in, _ = w.snapshot().Services.Get("a")
	require.Equal(t, cluster.Standby, cluster.Resolve(in).Instances[1].Status)
	require.Equal(t, "2 are wanted", cluster.Resolve(in).Instances[1].Reason)
	require.False(t, cluster.Resolve(in).Instances[1].Since.IsZero())

	w.want["a"] = 9
	w.settle(time.Minute, nil)
	require.Len(t, w.takes("a"), 3)
	require.Contains(t, w.problems[0].Error(), "9 are wanted, and of those that stand by only 2 may be called")

	// When none stands by any more nothing is kept.
	w.publish("a", 1, func(s *cluster.Service) { s.Instances = s.Instances[:1] })
	w.settle(time.Minute, nil)
	in, _ = w.snapshot().Services.Get("a")
	require.Nil(t, in.Called)
	w.machines("b", 0, 2)
	w.want["b"] = 1
	w.settle(time.Minute, nil)
	require.Len(t, w.takes("b"), 1)
	w.publish("b", 1, func(s *cluster.Service) { s.Instances, s.Run = nil, &cluster.Run{Command: []string{"/bin/b"}} })
	w.settle(time.Minute, nil)
	in, _ = w.snapshot().Services.Get("b")
	require.Nil(t, in.Called)
}

func TestASickOneIsReplacedByOneThatStandsBy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.draft.Node("n9", &cluster.Node{Addresses: addressesOf("192.168.20.2", "192.168.20.3")})
	w.machines("a", 1, 3)
	w.want["a"] = 2
	w.settle(time.Minute, nil)
	require.Equal(t, []string{machineAt(1), machineAt(2)}, w.takes("a"))
	w.sick("n9", "a", machineAt(2), &cluster.Health{Verdict: cluster.Failing, Reason: "503", Since: w.now})
	w.settle(time.Minute, func() { require.Len(t, w.takes("a"), 2) })
	require.Equal(t, []string{machineAt(1), machineAt(3)}, w.takes("a"), "in one step")
	require.Contains(t, w.events[len(w.events)-1], "called "+machineAt(3)+"; let go "+machineAt(2))
	w.sick("n9", "a", machineAt(2), nil)
	w.settle(time.Minute, nil)
	require.Equal(t, []string{machineAt(1), machineAt(3)}, w.takes("a"), "nothing moves back for its own sake")

	// Those that always serve count only while they are well; an operator's word counts before all.
	w.draft.Node("n9", &cluster.Node{Addresses: addressesOf("192.168.20.1")})
	w.draft.Admin("a", machineAt(2), &cluster.Admin{Drain: true})
	w.sick("n9", "a", machineAt(1), &cluster.Health{Verdict: cluster.Dead, Since: w.now})
	w.settle(time.Minute, nil)
	require.Equal(t, []string{machineAt(3), machineAt(4)}, w.takes("a"))
	w.draft.Admin("a", machineAt(4), &cluster.Admin{Standby: true})
	w.settle(time.Minute, nil)
	require.Equal(t, []string{machineAt(3)}, w.takes("a"))
	require.NotEmpty(t, w.problems)
}

// TestLists of any kind: as many well ones serve as are wanted, where there are so many, and nobody is exchanged without need.
func TestLists(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, 1)
		always, standby := rapid.IntRange(0, 3).Draw(t, "always"), rapid.IntRange(1, 5).Draw(t, "standby")
		addresses := []string{}
		for i := range always + standby {
			addresses = append(addresses, fmt.Sprintf("192.168.20.%d", i+1))
		}
		w.draft.Node("n9", &cluster.Node{Addresses: addressesOf(addresses...)})
		w.machines("a", always, standby)
		health := map[string]cluster.Health{}
		for range rapid.IntRange(1, 10).Draw(t, "steps") {
			id := machineAt(rapid.IntRange(1, always+standby).Draw(t, "instance"))
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				w.want["a"] = rapid.IntRange(always, always+standby).Draw(t, "want")
			case 1:
				delete(health, id)
				if v := rapid.SampledFrom([]cluster.Verdict{"", cluster.Dead, cluster.Failing, cluster.Leaving}).Draw(t, "verdict"); v != "" {
					health[id] = cluster.Health{Verdict: v, Since: w.now}
				}
				w.draft.Health("n9", cluster.NodeHealth{"a": maps.Clone(health)})
			case 2:
				w.draft.Admin("a", id, rapid.SampledFrom([]*cluster.Admin{nil, {Drain: true}, {Standby: true}}).Draw(t, "admin"))
			case 3:
				w.state = State{} // another leader
			}
			in, _ := w.snapshot().Services.Get("a")
			before, _ := reserves(in)
			w.second()
			after, well := w.reservesOf("a")
			require.Equal(t, min(max(w.want["a"]-well, 0), wells(after, false)), wells(after, true), "as many well ones as are wanted")
			left, came := 0, 0
			for i := range after {
				was, is := before[i].called, after[i].called
				left += truth(was && !is && before[i].well())
				came += truth(!was && is)
				require.False(t, is && !after[i].callable())
			}
			require.False(t, left > 0 && came > 0, "none that is well is exchanged for another")
			_, again, _ := w.plan()
			require.Empty(t, again)
		}
	})
}

// wells are those that are well, all or only the called ones.
func wells(pool []reserve, called bool) (n int) {
	for _, v := range pool {
		n += truth(v.well() && (v.called || !called))
	}
	return n
}

func (w *world) reservesOf(name string) (pool []reserve, always int) {
	in, ok := w.snapshot().Services.Get(name)
	require.True(w.t, ok)
	return reserves(in)
}
