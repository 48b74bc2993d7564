package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func happening(service, reason string) cluster.Event {
	return cluster.Event{At: time.Unix(1, 0).UTC(), Service: service, What: cluster.EventWeights, Reason: reason, By: "cc1",
		In: cluster.Figures{"x": {"busy": 0.5}}, Out: cluster.Figures{"x": {"share": 3}}}
}

func reasons(events []cluster.Event) (out []string) {
	for _, e := range events {
		out = append(out, e.Service+" "+e.Reason)
	}
	return out
}

// told collects what a follower is told.
func told(t *testing.T, s *Store, service string) <-chan []cluster.Event {
	t.Helper()
	out := make(chan []cluster.Event, 100)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.FollowEvents(ctx, service, func(e []cluster.Event) { out <- e }); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return out
}

func hear(t *testing.T, news <-chan []cluster.Event) []string {
	t.Helper()
	select {
	case e := <-news:
		return reasons(e)
	case <-time.After(soon):
		t.Fatal("no news in ", soon)
		return nil
	}
}

func TestEventsAreWrittenWithWhatTheyTellOf(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	publish(t, s, svc("a", 1))
	reigns, _ := stand(t, s, "cc1", long)
	one := next(t, "cc1", reigns)
	all, ofA := told(t, s, ""), told(t, s, "a")
	require.Empty(t, hear(t, all))
	require.Empty(t, hear(t, ofA))
	revision, err := one.Write(t.Context(), shares(3), happening("a", "first"), happening("b", "other"))
	require.NoError(t, err)
	require.Equal(t, []string{"a first", "b other"}, hear(t, all))
	require.Equal(t, []string{"a first"}, hear(t, ofA))
	require.Equal(t, 3, share(t, s))
	events, err := s.Events(t.Context(), "a")
	require.NoError(t, err)
	want := happening("a", "first")
	want.Revision = revision
	require.Equal(t, []cluster.Event{want}, events)

	_, err = one.Write(t.Context(), happening("a", "second"))
	require.NoError(t, err)
	require.Equal(t, []string{"a second"}, hear(t, all))
	for why, bad := range map[string][]cluster.Decision{
		"two events":    {shares(4), happening("a", "x"), happening("a", "y")},
		"no name":       {shares(4), happening("a/b", "x")},
		"not a number":  {shares(4), cluster.Event{Service: "a", In: cluster.Figures{"x": {"busy": math.NaN()}}}},
		"no instance":   {shares(4), cluster.Event{Service: "a", Out: cluster.Figures{"x\n": {"share": 1}}}},
		"no figure":     {shares(4), cluster.Event{Service: "a", Out: cluster.Figures{"x": {"\x1b": 1}}}},
		"endless words": {shares(4), happening("a", strings.Repeat("x", maxEventBytes))},
	} {
		_, err := one.Write(t.Context(), bad...)
		require.Error(t, err, why)
	}
	require.Equal(t, 3, share(t, s), "all or nothing")
	one.leave(errors.New("enough"))
	next(t, "cc1", reigns)
	_, err = one.Write(t.Context(), happening("a", "late"))
	require.ErrorIs(t, err, cluster.ErrNotLeading)
	events, err = s.Events(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, []string{"a first", "b other", "a second"}, reasons(events))
}

func TestEventsOfAServiceAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	reigns, _ := stand(t, s, "cc1", long)
	one := next(t, "cc1", reigns)
	_, err := raw(t, s).Put(t.Context(), s.prefix+"ops/events/a/no-number", "{}")
	require.NoError(t, err)
	for n := range cluster.MaxEvents + 5 { // their numbers go from two digits to three
		_, err := one.Write(t.Context(), happening("a", fmt.Sprint(n)))
		require.NoError(t, err)
	}
	_, err = one.Write(t.Context(), happening("b", "kept"))
	require.NoError(t, err)
	events, err := s.Events(t.Context(), "a")
	require.NoError(t, err)
	require.Len(t, events, cluster.MaxEvents)
	require.Equal(t, "5", events[0].Reason)
	require.Equal(t, fmt.Sprint(cluster.MaxEvents+4), events[cluster.MaxEvents-1].Reason)
	require.Less(t, events[0].Revision, int64(100))
	events, err = s.Events(t.Context(), "") // more than a page
	require.NoError(t, err)
	require.Len(t, events, cluster.MaxEvents+1)
	require.Equal(t, "kept", events[cluster.MaxEvents].Reason)
}

// Somebody, or another version, left many: they go in parts that a transaction can hold.
func TestOldEventsGoInParts(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	c := raw(t, s)
	for n := range maxOld + cluster.MaxEvents + 1 {
		_, err := c.Put(t.Context(), fmt.Sprintf("%sops/events/a/%d", s.prefix, n+1), `{"what":"x"}`)
		require.NoError(t, err)
	}
	reigns, _ := stand(t, s, "cc1", long)
	one := next(t, "cc1", reigns)
	var d []cluster.Decision
	for n := range maxOps/2 - 1 {
		d = append(d, cluster.SetDown{Node: fmt.Sprint("n", n), Down: &cluster.Down{}})
	}
	for _, want := range []int{cluster.MaxEvents + 2, cluster.MaxEvents, cluster.MaxEvents} {
		_, err := one.Write(t.Context(), append(slices.Clone(d), happening("a", "newest"))...)
		require.NoError(t, err)
		events, err := s.Events(t.Context(), "a")
		require.NoError(t, err)
		require.Len(t, events, want)
		require.Equal(t, "newest", events[want-1].Reason)
	}
}

func TestTooManyFiguresAreLeftOut(t *testing.T) {
	t.Parallel()
	e := happening("a", "many")
	for n := range 5000 {
		e.In[fmt.Sprint(n)] = map[string]float64{"busy": 1}
	}
	value, err := encodeEvent(e)
	require.NoError(t, err)
	got, err := decode[cluster.Event](value)
	require.NoError(t, err)
	require.True(t, got.Cut)
	require.Nil(t, got.In)
	require.Equal(t, "many", got.Reason)
}

func TestFollowingEventsLosesNone(t *testing.T) {
	t.Parallel()
	e := server(t)
	direct := open(t, e.Endpoint())
	way := forward(t, e.Endpoint())
	s := open(t, way.endpoint())
	reigns, _ := stand(t, direct, "cc1", long)
	one := next(t, "cc1", reigns)
	news := told(t, s, "")
	require.Empty(t, hear(t, news))
	for n := range 3 {
		_, err := one.Write(t.Context(), happening("a", fmt.Sprint(n)))
		require.NoError(t, err)
		require.Equal(t, []string{fmt.Sprint("a ", n)}, hear(t, news), "each once")
		way.Cut()
	}
	_, err := raw(t, direct).Put(t.Context(), direct.prefix+"ops/events/a/99999", "nonsense")
	require.NoError(t, err)
	_, err = raw(t, direct).Put(t.Context(), direct.prefix+"ops/events/b/99999", `{"service":"x","reason":"by hand","in":{"a b":{"busy":1}}}`)
	require.NoError(t, err)
	require.Equal(t, []string{"b by hand"}, hear(t, news))
	events, err := direct.Events(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, []cluster.Event{{Revision: 99999, Service: "b", Reason: "by hand", Cut: true}}, events)
	_, err = one.Write(t.Context(), happening("a", "last"))
	require.NoError(t, err)
	require.Equal(t, []string{"a last"}, hear(t, news), "whatever the numbers of others are")
}

func TestWhoMaySeeEvents(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	reigns, _ := stand(t, as("weir-controlcenter"), "cc1", long)
	one := next(t, "cc1", reigns)
	_, err := one.Write(t.Context(), happening("a", "x"))
	require.NoError(t, err)
	for _, user := range []string{"weir-viewer", "weir-operator"} {
		require.Equal(t, []string{"a x"}, hear(t, told(t, as(user), "a")), user)
	}
	n1 := as("weir-node-n1")
	_, err = n1.Events(t.Context(), "a")
	require.ErrorIs(t, err, cluster.ErrDenied)
	require.ErrorIs(t, n1.FollowEvents(t.Context(), "", nil), cluster.ErrDenied)
}
