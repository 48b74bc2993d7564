package sample

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// fakeHost is a node whose kernel says what a test wrote down.
type fakeHost struct {
	opened, open map[cluster.Listener]uint64
	pids         map[cluster.Listener]int
	usage        map[int]Usage
	fail         string
}

var errHost = errors.New("no answer")

func (f *fakeHost) failing(what string) error {
	if f.fail == what {
		return errHost
	}
	return nil
}

func (f *fakeHost) Opened(context.Context) (map[cluster.Listener]uint64, error) {
	return maps.Clone(f.opened), f.failing("opened")
}

func (f *fakeHost) Open(context.Context, []cluster.Listener) (map[cluster.Listener]uint64, error) {
	return f.open, f.failing("open")
}

func (f *fakeHost) Processes([]cluster.Listener) (map[cluster.Listener]int, error) {
	return f.pids, f.failing("processes")
}

func (f *fakeHost) Usage(pid int) (Usage, error) {
	u, ok := f.usage[pid]
	if !ok {
		return Usage{}, errHost
	}
	return u, nil
}

func TestSampler(t *testing.T) {
	t.Parallel()
	web, admin := listener("192.168.1.1:80", cluster.TCP), listener("192.168.1.1:81", cluster.TCP)
	locals := []loadmon.Local{
		{Service: "a", Instance: "x", Listeners: []cluster.Listener{web, admin}},
		{Service: "b", Instance: "y", Listeners: []cluster.Listener{listener("192.168.1.2:53", cluster.UDP)}},
	}
	host := &fakeHost{
		opened: map[cluster.Listener]uint64{web: 1000, admin: 5}, open: map[cluster.Listener]uint64{web: 3, admin: 1},
		pids: map[cluster.Listener]int{web: 17, admin: 17}, usage: map[int]Usage{17: {CPU: time.Hour, Source: "cgroup v2"}},
	}
	s, now := NewSampler("n1", host, 2), time.Now()
	sample := func() []loadmon.Load {
		r, err := s.Sample(t.Context(), locals, now)
		require.NoError(t, err)
		require.Equal(t, "n1", r.Node)
		require.WithinDuration(t, now, r.At, 0)
		now = now.Add(loadmon.Interval)
		return r.Loads
	}
	load := func(connections uint64, busy float64) []loadmon.Load {
		return []loadmon.Load{{Service: "a", Instance: "x", Connections: connections, Active: 4, Busy: busy}}
	}
	require.Empty(t, sample(), "one sample says nothing")

	host.opened[web], host.opened[admin] = 1100, 7
	host.usage[17] = Usage{CPU: time.Hour + 4*time.Second, Source: "cgroup v2"}
	require.Equal(t, load(102, 0.4), sample(), "what was before it counts not; y has no process")

	host.opened[web] = 20
	require.Equal(t, load(122, 0.02), sample(), "the counter began anew")

	host.pids = map[cluster.Listener]int{web: 18, admin: 18}
	host.usage[18] = Usage{CPU: time.Second, Source: "cgroup v2"}
	require.Empty(t, sample(), "another process")
	require.Equal(t, load(122, 0.02), sample())
	delete(host.usage, 18)
	require.Empty(t, sample(), "it ended")

	locals = nil
	require.Empty(t, sample())
	require.Empty(t, s.instances, "what is not here is forgotten")
}

func TestSamplerUptimeIsMonotonic(t *testing.T) {
	t.Parallel()
	s, start := NewSampler("n1", &fakeHost{}, 1), time.Now()
	for _, want := range []float64{0, 5, 10} {
		r, err := s.Sample(t.Context(), nil, start.Add(time.Duration(want)*time.Second))
		require.NoError(t, err)
		require.InDelta(t, want, r.UptimeS, 1e-9)
	}
}

func TestSamplerWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	for fail, want := range map[string]string{
		"opened": "count new connections: no answer", "open": "count open connections: no answer", "processes": "find the instances' processes: no answer",
	} {
		_, err := NewSampler("n1", &fakeHost{fail: fail}, 1).Sample(t.Context(), nil, time.Now())
		require.ErrorIs(t, err, errHost)
		require.EqualError(t, err, want)
	}
}
