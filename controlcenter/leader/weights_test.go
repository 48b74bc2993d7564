package leader_test

import (
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// Speeds 1 : 0.7 : 0.5 end as shares, each move is an event with its numbers, and then nothing is written any more.
func TestWeightsFollowTheLoad(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{80, 56, 40}, func(w *world) {
		w.after(3 * time.Second)
		require.Zero(t, w.store.written(), "the file's weights need not be written")
		w.after(3 * time.Minute)
		require.InDeltaSlice(t, []float64{1 / 2.2, 0.7 / 2.2, 0.5 / 2.2}, w.shares(), 0.02)
		events := w.store.told()
		require.NotEmpty(t, events)
		require.Len(t, events, w.store.written(), "one each")
		for _, e := range events {
			require.Equal(t, "a", e.Service)
			require.Equal(t, cluster.EventWeights, e.What)
			require.Equal(t, "cc1", e.By)
			require.Regexp(t, `^instance 192\.168\.0\.[123]:80 can take \d+\.\d % (more|less) than it gets$`, e.Reason)
			require.Len(t, e.In, 3)
			require.Positive(t, e.In[id(1)]["busy"])
			require.Positive(t, e.In[id(1)]["capacity"])
			sum := 0.0
			for _, figures := range e.Out {
				sum += figures["share"]
			}
			require.InDelta(t, 100, sum, 0.001)
		}
		last := events[len(events)-1]
		require.InDelta(t, 100*w.shares()[0], last.Out[id(1)]["share"], 0.001)
		writes := w.store.written()
		w.after(10 * time.Minute)
		require.Equal(t, writes, w.store.written())
		require.Contains(t, page(t, w.leader.WriteDecisions), `"reason": "every weight is near its target"`)
		require.Contains(t, page(t, w.leader.WriteLoads), `"instance": "192.168.0.2:80"`)
		require.Empty(t, page(t, w.leader.WriteProblems))
		require.Equal(t, 1.0, w.metric("leading"))
		require.Equal(t, 3.0, w.metric("nodes"))
		problems, err := testutil.GatherAndLint(w.registry)
		require.NoError(t, err)
		require.Empty(t, problems)
	})
}

// Another leader takes over in the middle: it goes on from what is stored, and nothing jumps back.
func TestANewLeaderGoesOn(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		w.after(time.Minute)
		before := w.shares()
		require.Greater(t, before[0], 0.6)
		w.stop()
		w.start()
		w.after(20 * time.Second)
		require.Equal(t, before, w.shares(), "it has no figures yet")
		w.after(2 * time.Minute)
		require.InDelta(t, 0.75, w.shares()[0], 0.02)
	})
}

// A leader whose watch has not seen yet what the one before wrote reads it.
func TestANewLeaderReadsWhatIsStored(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		w.after(2 * time.Minute)
		w.stop()
		before := w.shares()
		w.store.mu.Lock()
		w.store.blind = true // from now on
		w.store.mu.Unlock()
		w.start()
		w.after(20 * time.Second)
		require.Equal(t, before, w.shares())
		require.Contains(t, page(t, w.leader.WriteDecisions), `"192.168.0.1:80": 7`)
	})
}

func TestPausedNothingIsDecided(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		pause := func(paused bool) { w.store.configure(&cluster.Config{Paused: paused}) }
		w.after(30 * time.Second)
		pause(true)
		w.after(6 * time.Second)
		before, writes := w.shares(), w.store.written()
		w.instances[0].set(func(i *instance) { i.speed = 10 })
		w.after(time.Hour)
		require.Equal(t, before, w.shares())
		require.Equal(t, 1.0, w.metric("paused"))
		require.Contains(t, page(t, w.leader.WriteState), `"paused": true`)
		require.Equal(t, 1, strings.Count(w.log.String(), "paused: nothing is decided"))
		require.NotEmpty(t, page(t, w.leader.WriteLoads), "it looks on")
		w.instances[0].set(func(i *instance) { i.speed = 30 })
		pause(false)
		w.after(5 * time.Second)
		require.Equal(t, before, w.shares(), "no jump")
		w.after(3 * time.Minute)
		require.InDelta(t, 0.5, w.shares()[0], 0.02)
		require.Greater(t, w.store.written(), writes)
		require.Contains(t, w.log.String(), "resumed")
		require.Zero(t, w.metric("paused"))
	})
}

func TestWeightsAreTakenBack(t *testing.T) {
	t.Parallel()
	for balance, reason := range map[cluster.Balance]string{
		cluster.BalanceUniform: "balance is uniform: the weights are those of the file",
		"":                     "balance is static: the weights are those of the file",
	} {
		inWorld(t, []float64{90, 30}, func(w *world) {
			w.after(2 * time.Minute)
			require.NotNil(t, w.store.stored())
			w.publish(func(s *cluster.Service) { s.Balance = balance })
			w.after(6 * time.Second)
			require.Nil(t, w.store.stored())
			require.Equal(t, []float64{0.5, 0.5}, w.shares())
			events := w.store.told()
			require.Equal(t, reason, events[len(events)-1].Reason)
			require.InDelta(t, 75, events[len(events)-1].In[id(1)]["share"], 2)
			writes := w.store.written()
			w.after(time.Minute)
			require.Equal(t, writes, w.store.written(), "once")
			w.publish(func(s *cluster.Service) { s.Balance = cluster.BalanceAdaptive })
			w.after(2 * time.Minute)
			require.InDelta(t, 0.75, w.shares()[0], 0.02)
		})
	}
}

// An instance that has just come gets little at first, and the event names it.
func TestANewInstanceStartsSlowly(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{60, 60, 60}, func(w *world) {
		w.from(func(s *cluster.Service) { s.Instances = s.Instances[:2] })
		w.after(time.Minute)
		require.InDeltaSlice(t, []float64{0.5, 0.5, 0}, w.shares(), 0.001)
		w.publish(func(s *cluster.Service) { s.Instances = service("a", 3).Instances })
		w.after(6 * time.Second)
		require.Less(t, w.shares()[2], 0.15)
		require.Contains(t, w.store.told()[0].Reason, "instance 192.168.0.3:80 begins with 10 % of its share; ")
		w.after(time.Minute)
		require.InDeltaSlice(t, []float64{1. / 3, 1. / 3, 1. / 3}, w.shares(), 0.03)
		require.True(t, slices.ContainsFunc(w.store.told(), func(e cluster.Event) bool {
			return strings.HasPrefix(e.Reason, "instance 192.168.0.3:80 has all of its share from now on; ")
		}), "the end of it is told as such")
	})
}

// What an operator says of single instances is none of the leader's business.
func TestOperatorsComeFirst(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30, 60, 60, 60}, func(w *world) {
		hand := 2
		w.store.change(func(d *cluster.Draft, _ int64) {
			d.Admin("a", id(3), &cluster.Admin{Weight: &hand})
			d.Admin("a", id(4), &cluster.Admin{Drain: true})
		})
		w.from(func(s *cluster.Service) { s.Instances[4].Weight = 0 })
		w.after(10 * time.Minute) // until what is left of chance is small
		shares := w.shares()
		require.InDelta(t, 3, shares[0]/shares[1], 0.15)
		require.InDelta(t, 1, shares[2]/(shares[0]+shares[1]), 0.02, "twice the mean of the others")
		require.Zero(t, shares[3])
		require.Zero(t, shares[4], "the file says 0")
		require.NotContains(t, w.store.stored().Share, id(3))
	})
}

// The file's weights count until something moved, also those of a later file.
func TestTheFileIsReplacedBeforeAnythingMoved(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{60, 60}, func(w *world) {
		w.after(30 * time.Second)
		require.Zero(t, w.store.written())
		w.publish(func(s *cluster.Service) { s.Instances[0].Weight = 9 })
		w.after(time.Minute)
		require.InDeltaSlice(t, []float64{0.5, 0.5}, w.shares(), 0.02, "what they can take has not changed by it")
	})
}

func TestBlendAndLimitsAreTheServices(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		w.after(3 * time.Minute)
		none := 0
		w.publish(func(s *cluster.Service) { s.Blend = &none })
		w.after(6 * time.Second)
		require.InDeltaSlice(t, []float64{0.5, 0.5}, w.shares(), 0.001)
		events := w.store.told()
		require.Equal(t, "blend is 0, it was 100; every weight is near its target", events[len(events)-1].Reason)
	})
	inWorld(t, []float64{90, 30}, func(w *world) {
		blend := 50
		w.publish(func(s *cluster.Service) { s.Blend = &blend })
		w.after(3 * time.Minute)
		require.InDelta(t, 0.625, w.shares()[0], 0.02)
	})
	inWorld(t, []float64{90, 90, 90}, func(w *world) {
		w.publish(func(s *cluster.Service) {
			s.Latency = &cluster.Latency{Soft: cluster.Duration(time.Millisecond), Hard: cluster.Duration(20 * time.Millisecond)}
		})
		for i, it := range w.instances {
			it.set(func(inst *instance) { inst.load.LatencyMS = []float64{1, 1, 30}[i] })
		}
		w.after(30 * time.Second)
		require.Zero(t, w.shares()[2])
		require.Contains(t, w.store.told()[0].Reason, "192.168.0.3:80 is ejected: 3 answers in a row took longer than the hard limit, the last 30 ms; ")
	})
}

// A service that says itself what it wants: the weights of the file, times the wish, and the file's alone when that ends.
func TestWishes(t *testing.T) {
	t.Parallel()
	for _, balance := range []cluster.Balance{cluster.BalanceStatic, cluster.BalanceAdaptive} {
		inWorld(t, []float64{80, 40}, func(w *world) {
			w.from(func(s *cluster.Service) {
				s.Balance, s.Load = balance, &cluster.LoadSource{Agent: 8081}
				s.Instances[0].Weight = 2
			})
			w.after(3 * time.Second)
			require.Zero(t, w.store.written())
			wish := 0.25
			w.instances[0].set(func(i *instance) { i.load.Wish = &wish })
			w.after(5 * time.Second)
			require.InDelta(t, 1./3, w.shares()[0], 0.001)
			e := w.store.told()[0]
			require.True(t, strings.HasPrefix(e.Reason, "instance 192.168.0.1:80 wishes 25 % of its weight"), e.Reason)
			require.Equal(t, 0.25, e.In[id(1)]["wish"])
			w.instances[0].lies(func(*loadmon.Report) error { return errors.New("connection refused") })
			w.instances[1].lies(func(*loadmon.Report) error { return errors.New("connection refused") })
			w.after(time.Minute)
			require.InDelta(t, 1./3, w.shares()[0], 0.001, "who is silent has not changed its mind")
			w.stop()
			w.start()
			w.after(time.Minute)
			require.InDelta(t, 1./3, w.shares()[0], 0.001, "nor for a new leader")
			if balance == cluster.BalanceStatic {
				w.publish(func(s *cluster.Service) { s.Load = nil })
				w.after(6 * time.Second)
				require.InDelta(t, 2./3, w.shares()[0], 0.001)
			}
		})
	}
}

// Of a static service that asks for no wishes nothing is fetched and nothing written, whatever its nodes say.
func TestStaticServicesAreLeftAlone(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		wish := 0.1
		w.instances[0].set(func(i *instance) { i.load.Wish = &wish })
		w.from(func(s *cluster.Service) { s.Balance = cluster.BalanceStatic })
		w.after(2 * time.Minute)
		require.Zero(t, w.store.written())
		require.Zero(t, w.metric("nodes"))
	})
}

func TestSomebodyElseWritesWeights(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{60, 60}, func(w *world) {
		w.after(30 * time.Second)
		w.store.change(func(d *cluster.Draft, _ int64) {
			d.Weights("a", &cluster.Weights{Share: map[string]int{id(1): 100_000, id(2): 900_000}})
		})
		w.after(6 * time.Second)
		require.Contains(t, w.log.String(), "somebody else changed the weights")
		w.after(3 * time.Minute)
		require.InDeltaSlice(t, []float64{0.5, 0.5}, w.shares(), 0.03)
	})
}

// A write that fails is made again, from the same state.
func TestAWriteThatFails(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		w.store.refuses(cluster.ErrUnreachable)
		tried := 0 // not in a round to which no monitor says anything new
		for range 12 {
			w.after(5 * time.Second)
			if err := w.leader.Ready(); err != nil {
				require.EqualError(t, err, "write the weights of service a: etcd cannot be reached")
				require.Contains(t, page(t, w.leader.WriteState), "etcd cannot be reached")
				tried++
			}
		}
		require.GreaterOrEqual(t, tried, 6)
		require.Equal(t, []float64{0.5, 0.5}, w.shares())
		w.store.refuses(nil)
		w.after(4 * time.Minute)
		require.InDelta(t, 0.75, w.shares()[0], 0.02)
		require.NoError(t, w.leader.Ready())
	})
}

// A round that hangs makes the process unfit to live, one that writes much does not.
func TestARoundThatHangs(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		w.after(6 * time.Second)
		release := make(chan struct{})
		w.instances[0].lies(func(*loadmon.Report) error { <-release; return nil })
		w.after(30 * time.Second)
		require.NoError(t, w.leader.Live())
		w.after(time.Minute)
		require.ErrorContains(t, w.leader.Live(), "a round has come no further for")
		w.instances[0].falsify = nil
		close(release)
		w.after(10 * time.Second)
		require.NoError(t, w.leader.Live())
	})
}

// A rack of nodes from which nothing comes back takes all the time of one round, and not that of the next: whom it kept from being
// asked comes before it.
func TestARackThatIsDark(t *testing.T) {
	t.Parallel()
	inWorld(t, speeds(100), func(w *world) {
		w.after(6 * time.Second)
		require.NotContains(t, page(t, w.leader.WriteLoads), `"error"`)
		all := slices.SortedFunc(slices.Values(w.instances), func(a, b *instance) int { return strings.Compare(a.node, b.node) })
		dark, lit := all[:70], all[70:]
		for _, i := range dark {
			i.set(func(i *instance) { i.dark = true })
		}
		w.after(8500 * time.Millisecond) // until the next round is over
		require.Contains(t, page(t, w.leader.WriteProblems), "node "+lit[0].node+": its load monitor was not asked, so its instances keep their weights")
		w.after(5 * time.Second)
		var loads []struct{ Node, Error string }
		require.NoError(t, json.Unmarshal([]byte(page(t, w.leader.WriteLoads)), &loads))
		silent := 0
		for _, l := range loads {
			if l.Error == "" {
				continue
			}
			silent++
			require.False(t, slices.ContainsFunc(lit, func(i *instance) bool { return i.node == l.Node }), l)
		}
		require.Equal(t, len(dark), silent)
	})
}

// Services come, go and come again under the same name: nothing of the former one is remembered.
func TestAServiceOfTheSameName(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		w.after(2 * time.Minute)
		w.store.change(func(d *cluster.Draft, _ int64) { d.Service("a", nil); d.Weights("a", nil) })
		again := *w.service
		w.service = &again
		w.publish(func(s *cluster.Service) { s.CreateRevision = 77 })
		w.after(6 * time.Second)
		require.InDeltaSlice(t, []float64{0.5, 0.5}, w.shares(), 0.001)
		w.after(2 * time.Minute)
		require.InDelta(t, 0.75, w.shares()[0], 0.02)
	})
}

// One instance, or none, is nothing to share.
func TestNothingToShare(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		w.publish(func(s *cluster.Service) { s.Instances = s.Instances[:1] })
		w.after(time.Minute)
		require.Zero(t, w.store.written())
		require.Contains(t, page(t, w.leader.WriteDecisions), "1 instances may take traffic: nothing to share")
		require.NoError(t, w.leader.Ready())
		require.NoError(t, w.leader.Live())
	})
}

// The leader's clock, or that of every node, jumps by an hour: nothing moves, all nodes are named, and when it is right again
// it goes on from where it was.
func TestClocksThatJump(t *testing.T) {
	t.Parallel()
	for by, want := range map[time.Duration]string{
		time.Hour:  "its figures are 1h0m0s from the future; the last good figures stay: set the clocks of that node and of the leader's host",
		-time.Hour: "its figures are 1h0m0s old and do not count: set the clocks of that node and of this host",
	} {
		inWorld(t, []float64{90, 30}, func(w *world) {
			w.after(40 * time.Second)
			for _, i := range w.instances {
				i.lies(func(r *loadmon.Report) error {
					r.At = r.At.Add(by)
					return nil
				})
			}
			w.after(16 * time.Second)
			before := w.shares()
			w.after(10 * time.Minute)
			require.Equal(t, before, w.shares())
			require.Equal(t, 2, strings.Count(page(t, w.leader.WriteProblems), want), page(t, w.leader.WriteProblems))
			require.Equal(t, 2.0, w.metric("problems"))
			require.Contains(t, page(t, w.leader.WriteDecisions), "frozen: 2 of 2 instances have no fresh figures")
			require.Equal(t, 2, strings.Count(w.log.String(), "level=WARN msg=problem "), "once each")
			for _, i := range w.instances {
				i.lies(nil)
			}
			w.after(5 * time.Second)
			require.Equal(t, before, w.shares(), "no jump")
			w.after(4 * time.Minute)
			require.InDelta(t, 0.75, w.shares()[0], 0.02)
			require.Empty(t, page(t, w.leader.WriteProblems))
		})
	}
}

// An instance that comes and goes all the time costs at most one write a round, and the others keep their traffic.
func TestAnInstanceThatFlaps(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{60, 60, 60}, func(w *world) {
		for n := range 600 { // of a second each
			verdict := cluster.NodeHealth{"a": {id(3): {Verdict: cluster.Dead, Reason: "connection refused"}}}
			if n%2 == 0 {
				verdict = nil
			}
			w.store.change(func(d *cluster.Draft, _ int64) { d.Health("n3", verdict) })
			w.after(time.Second)
		}
		require.LessOrEqual(t, w.store.written(), 121)
		shares := w.shares()
		require.InDelta(t, shares[0], shares[1], 0.02)
	})
}

// The event of a decision has the figures that were known, and no others.
func TestAnEventHasWhatIsKnown(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		w.from(func(s *cluster.Service) {
			s.Instances = append(s.Instances, cluster.Instance{ID: "elsewhere", Addr: netip.MustParseAddr("192.168.9.9"), Port: 80, Weight: 1})
		})
		w.after(time.Minute)
		events := w.store.told()
		require.Contains(t, events[0].In[id(1)], "busy")
		require.Equal(t, []string{"share"}, slices.Collect(maps.Keys(events[0].In["elsewhere"])))
	})
}
