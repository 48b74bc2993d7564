package leader_test

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader"
	"github.com/weir-lb/weir/loadmon"
)

// overtaken is a leader whose first weights somebody's word overtakes, on their way to etcd.
type overtaken struct {
	real
	once  sync.Once
	word  cluster.Change
	wrote chan error // what became of these
}

func (o *overtaken) Lead(ctx context.Context, name string, lease time.Duration, lead func(context.Context, leader.Writer) error) error {
	return o.real.Lead(ctx, name, lease, func(ctx context.Context, w leader.Writer) error { return lead(ctx, overtakenWriter{w, o}) })
}

type overtakenWriter struct {
	leader.Writer
	*overtaken
}

func (o overtakenWriter) Write(ctx context.Context, decisions ...cluster.Decision) (revision int64, err error) {
	if !slices.ContainsFunc(decisions, func(d cluster.Decision) bool { _, ok := d.(cluster.SetWeights); return ok }) {
		return o.Writer.Write(ctx, decisions...)
	}
	first := false
	o.once.Do(func() {
		first = true
		_, err = o.Commit(ctx, o.word)
	})
	if err != nil {
		return 0, err
	}
	revision, err = o.Writer.Write(ctx, decisions...)
	if first {
		o.wrote <- err
	}
	return revision, err
}

// A pause that comes between the decision and its write keeps the weights as they are, until it is over.
func TestAPauseBeforeTheWeightsAreWritten(t *testing.T) {
	t.Parallel()
	s := open(t, server(t))
	static := service("a", 2)
	static.Balance, static.Load = cluster.BalanceStatic, &cluster.LoadSource{Agent: 8081}
	published(t, s, static)
	wish := 0.5
	n := &nodes{}
	n.set("n1", says("n1", loadmon.Load{Service: "a", Instance: id(1), Wish: &wish}))
	n.set("n2", says("n2", loadmon.Load{Service: "a", Instance: id(2)}))
	o := &overtaken{real: s, word: cluster.SetPaused{Paused: true}, wrote: make(chan error, 1)}
	var log text
	l, _ := lead(t, leader.Config{Store: o, Loads: n, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.ErrorIs(t, <-o.wrote, cluster.ErrStale)
	rounds(t, l, 3)
	require.Nil(t, inputs(t, s, "a").Weights)
	require.Empty(t, must(s.Events(t.Context(), "a")))
	require.NotContains(t, log.String(), "failed")
	_, err := s.Commit(t.Context(), cluster.SetPaused{})
	require.NoError(t, err)
	eventually(t, "resumed", func() bool { return inputs(t, s, "a").Weights != nil })
}

// A configuration that has nothing to do with it puts the weights of all services off by one round, of which one is refused.
func TestAConfigurationCostsOneRound(t *testing.T) {
	t.Parallel()
	inWorld(t, []float64{90, 30}, func(w *world) {
		w.stop()
		names := []string{"s1", "s2", "s3"}
		w.store.change(func(d *cluster.Draft, revision int64) {
			for i, name := range names {
				s := *w.service
				s.Name, s.Balance, s.VIPs = name, "", []netip.Addr{netip.AddrFrom4([4]byte{10, 20, 0, byte(i)})}
				d.Service(name, &s)
				d.Weights(name, &cluster.Weights{Share: map[string]int{id(1): 100_000, id(2): 900_000}})
			}
		})
		left := func() (n int) {
			s, _ := w.store.Snapshot(t.Context())
			for _, name := range names {
				if in, _ := s.Services.Get(name); in.Weights != nil {
					n++
				}
			}
			return n
		}
		between[cluster.SetWeights](w.store, func() {
			w.store.configure(&cluster.Config{VIPPools: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		})
		failed := len(w.log.String())
		w.start()
		w.after(time.Second)
		require.Equal(t, 3, left())
		require.Equal(t, 1.0, w.labelled("writes_total", "refused"), "the others are not tried")
		require.NotContains(t, page(t, w.leader.WriteDecisions), "the weights are those of the file", "nothing became of it")
		require.NoError(t, w.leader.Ready())
		w.after(5 * time.Second)
		require.Zero(t, left())
		require.Equal(t, 1.0, w.labelled("writes_total", "refused"))
		require.Zero(t, w.labelled("writes_total", "failed"))
		require.Zero(t, w.labelled("rounds_total", "failed"))
		require.NotContains(t, w.log.String()[failed:], "level=WARN")
	})
}

// A pause that comes in the last moment keeps a node from being declared down, until it is over.
func TestAPauseBeforeANodeIsDeclaredDown(t *testing.T) {
	t.Parallel()
	inWorld(t, speeds(3), func(w *world) {
		w.after(watched)
		between[cluster.SetDown](w.store, func() { w.store.configure(&cluster.Config{Paused: true}) })
		w.wire.set(&w.wire.cut, "192.168.0.1")
		w.store.leave("n1")
		w.after(5 * time.Second)
		require.Equal(t, 1.0, w.labelled("writes_total", "refused"))
		require.Equal(t, "automatic decisions are paused (weir resume)", w.store.gone["n1"].Reason)
		w.after(time.Minute)
		require.Empty(t, w.store.down())
		require.NotContains(t, w.log.String(), "cannot look after the nodes")
		w.store.configure(&cluster.Config{})
		w.after(10 * time.Second)
		require.Equal(t, []string{"n1"}, w.store.down())
		require.EqualValues(t, 1, w.metric("nodes_declared_down_total"))
	})
}

// A configuration that has nothing to do with it puts it off by a moment, and takes nobody's turn: of three nodes one may be
// declared down within a minute.
func TestAConfigurationBeforeANodeIsDeclaredDown(t *testing.T) {
	t.Parallel()
	inWorld(t, speeds(3), func(w *world) {
		w.after(watched)
		between[cluster.SetDown](w.store, func() {
			w.store.configure(&cluster.Config{VIPPools: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
		})
		w.wire.set(&w.wire.cut, "192.168.0.1")
		w.store.leave("n1")
		w.after(5 * time.Second)
		require.Equal(t, 1.0, w.labelled("writes_total", "refused"))
		require.Equal(t, []string{"n1"}, w.store.down())
		require.Len(t, slices.DeleteFunc(w.store.told(), func(e cluster.Event) bool { return e.What != cluster.EventNodeDown }), 1)
	})
}
