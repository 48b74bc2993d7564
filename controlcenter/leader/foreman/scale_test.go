package foreman_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// load is so many connections, over those that serve.
func (l *lab) load(connections int) (stop func()) {
	return l.during(func(ctx context.Context) error {
		for i := uint64(1); ctx.Err() == nil; i++ {
			measured := map[string]loadmon.Measured{}
			serving := l.serving()
			for node, ids := range serving {
				for _, id := range ids {
					measured[id] = loadmon.Measured{
						Load: loadmon.Load{Service: "a", Instance: id, Connections: i * 10, Active: uint64(connections / max(total(serving), 1)), Busy: 0.5},
						Node: node, At: time.Now(), Uptime: time.Duration(i) * 50 * time.Millisecond,
					}
				}
			}
			l.mu.Lock()
			l.measured = map[string]map[string]loadmon.Measured{"a": measured}
			l.mu.Unlock()
			time.Sleep(50 * time.Millisecond)
		}
		return nil
	})
}

func TestTheLoadDecidesHowMany(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.lead("cc1")
	l.publish(func(s *cluster.Service) {
		s.Scale = &cluster.Scale{Min: 2, Max: 6, Metrics: []cluster.ScaleMetric{{Metric: "connections", Target: 100}}}
	})
	l.until("the least", are(2))
	l.load(600)
	l.until("six", are(6))
	events := l.events()
	i := slices.IndexFunc(events, func(e cluster.Event) bool { return e.What == cluster.EventScaled && e.Out["service"]["to"] == 6 })
	require.GreaterOrEqual(t, i, 0, "%v", events)
	require.Contains(t, events[i].Reason, "connections:")

	// Whoever publishes the service again does not know of that, and need not.
	l.publish(func(s *cluster.Service) { s.Run.Grace = cluster.Duration(time.Minute) })
	l.publish(func(s *cluster.Service) { s.Scale = &cluster.Scale{Min: 1, Max: 8, Metrics: s.Scale.Metrics} })
	require.Eventually(t, func() bool {
		graced := 0
		for _, assigned := range l.operations().Assigned {
			for _, a := range assigned {
				graced += int(time.Duration(a.Run.Grace) / time.Minute)
			}
		}
		require.Equal(t, 6, total(l.serving()))
		return graced == 6
	}, soon, 10*time.Millisecond, "instances have the new file")
	require.Equal(t, 6, l.operations().Scaled["a"].Replicas)
}

// TestAListOfMachinesScales without a launcher: what was called stays called whoever leads, and whether anybody does.
func TestAListOfMachinesScales(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	stop, report := l.lead("cc1")
	l.publish(func(s *cluster.Service) {
		s.Run, s.Scale = nil, &cluster.Scale{Min: 2, Max: 9, Metrics: []cluster.ScaleMetric{{Metric: "connections", Target: 100}}, Window: cluster.Duration(time.Second)}
		for i := range 5 {
			one, err := cluster.ParseInstance(fmt.Sprintf("192.168.20.%d:80", i+1))
			require.NoError(t, err)
			one.Standby = i > 0
			s.Instances = append(s.Instances, one)
		}
	})
	l.until("the least", are(2))
	stopLoad := l.load(350)
	l.until("four", are(4))
	l.scale(cluster.Scaled{Replicas: 5, Pinned: true})
	l.until("an operator's word", are(5))
	l.commit(cluster.SetScaled{Service: "a"})
	var found cluster.Scaled
	require.Eventually(t, func() bool { found = l.operations().Scaled["a"]; return found.Replicas > 0 }, soon, time.Millisecond)
	require.GreaterOrEqual(t, found.Replicas, 4, "a lost number begins with as many as serve")
	l.looked(report, l.scale(cluster.Scaled{Replicas: 5, Pinned: true}))
	l.seen(l.commit(cluster.SetConfig{Config: &cluster.Config{}})) // not the five of before
	l.until("five", are(5))

	stop()
	l.publish(func(s *cluster.Service) { s.Balance = cluster.BalanceUniform })
	l.seen(l.commit(cluster.SetConfig{Config: &cluster.Config{Paused: true}}))
	require.Equal(t, 5, total(l.serving()), "nobody leads, and it was published again")
	_, report = l.lead("cc2")
	stopLoad()
	l.load(10)
	l.looked(report, l.scale(cluster.Scaled{Replicas: 5}))
	require.True(t, report().Paused)
	require.Equal(t, 5, l.operations().Scaled["a"].Replicas, "paused")
	require.Equal(t, 5, total(l.serving()), "paused")
	l.commit(cluster.SetConfig{Config: &cluster.Config{}})
	l.until("the least again", are(2))
	require.Eventually(t, func() bool {
		s := report().Services
		return len(s) == 1 && s[0].Serving == 2 && s[0].Standby == 3
	}, soon, 10*time.Millisecond)
	events := l.events()
	i := slices.IndexFunc(events, func(e cluster.Event) bool { return e.What == cluster.EventCalled && e.In["service"]["wanted"] == 5 })
	require.GreaterOrEqual(t, i, 0, "%v", events)
	require.Len(t, events[i].Out, 1, "the one that was called")
}
