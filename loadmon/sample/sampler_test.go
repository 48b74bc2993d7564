package sample

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/jump"
	"github.com/weir-lb/weir/loadmon"
)

// fakeHost is a node whose kernel says what a test wrote down.
type fakeHost struct {
	opened  map[cluster.Listener]uint64
	flows   map[cluster.Listener]Flows
	pids    map[cluster.Listener]int
	usage   map[int]Usage
	machine loadmon.HostLoad
	fail    string
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

func (f *fakeHost) Flows(context.Context, []cluster.Listener) (map[cluster.Listener]Flows, error) {
	return f.flows, f.failing("open")
}

func (f *fakeHost) Machine(time.Time) loadmon.HostLoad { return f.machine }

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
		opened: map[cluster.Listener]uint64{web: 1000, admin: 5}, flows: map[cluster.Listener]Flows{web: {Active: 3, BytesIn: 10, BytesOut: 100}, admin: {Active: 1}},
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
	looks := uint64(0)
	load := func(connections uint64, busy, cpu float64) []loadmon.Load {
		looks++
		return []loadmon.Load{{Service: "a", Instance: "x", Connections: connections, Active: 4, Busy: busy, CPUSeconds: cpu, BytesIn: 10 * looks, BytesOut: 100 * looks}}
	}
	looks++
	require.Empty(t, sample(), "one sample says nothing")

	host.opened[web], host.opened[admin] = 1100, 7
	host.usage[17] = Usage{CPU: time.Hour + 4*time.Second, Source: "cgroup v2"}
	require.Equal(t, load(102, 0.4, 4), sample(), "what was before it counts not; y has no process")

	host.opened[web] = 20
	require.Equal(t, load(122, 0.02, 4), sample(), "the counter began anew")
	host.usage[17] = Usage{CPU: time.Second, Source: "cgroup v2"}
	require.Equal(t, load(122, 0.02, 4), sample(), "so did its usage: no time is invented, and none taken back")
	host.usage[17] = Usage{CPU: 9 * time.Hour, Source: "process"}
	require.Equal(t, load(122, 0.02, 4), sample(), "what it used is read elsewhere now")

	host.pids = map[cluster.Listener]int{web: 18, admin: 18}
	host.usage[18] = Usage{CPU: time.Second, Source: "cgroup v2"}
	require.Empty(t, sample(), "another process")
	looks++
	host.usage[18] = Usage{CPU: 2 * time.Second, Waited: time.Second, Quota: 0.5, Source: "cgroup v2", Memory: 7, MemoryLimit: 8, Files: 9, FilesLimit: 10}
	want := load(122, 0.4, 5)
	want[0].Pressure, want[0].QuotaCPUs = 0.2, 0.5
	want[0].MemoryBytes, want[0].MemoryLimitBytes, want[0].OpenFiles, want[0].OpenFilesLimit = 7, 8, 9, 10
	require.Equal(t, want, sample())
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

// A wall clock that is set an hour ahead or back changes what a report says of its time of day, and no rate.
func TestSamplerAndJumpsOfTheClock(t *testing.T) {
	t.Parallel()
	web := listener("192.168.1.1:80", cluster.TCP)
	host := &fakeHost{pids: map[cluster.Listener]int{web: 17}, usage: map[int]Usage{}, machine: loadmon.HostLoad{CPU: 0.5}}
	s, now := NewSampler("n1", host, 1), time.Now()
	var cpu time.Duration
	for i, hours := range []int{0, 0, 1, -1, 0} {
		cpu += 2 * time.Second
		host.usage[17] = Usage{CPU: cpu, Source: "cgroup v2"}
		at := jump.Wall(now.Add(time.Duration(i)*loadmon.Interval), hours)
		require.Equal(t, time.Duration(i)*loadmon.Interval, at.Sub(now), "the clock that rates are made of did not jump")
		r, err := s.Sample(t.Context(), []loadmon.Local{{Service: "a", Instance: "x", Listeners: []cluster.Listener{web}}}, at)
		require.NoError(t, err)
		require.InDelta(t, float64(i)*5, r.UptimeS, 1e-9)
		require.WithinDuration(t, now.Round(0).Add(time.Duration(i)*loadmon.Interval+time.Duration(hours)*time.Hour), r.At, 0)
		require.Equal(t, loadmon.HostLoad{CPU: 0.5}, r.Host)
		if i > 0 {
			require.InDelta(t, 0.4, r.Loads[0].Busy, 1e-9)
			require.InDelta(t, 2*float64(i), r.Loads[0].CPUSeconds, 1e-9)
		}
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

// Two services that share an instance's address see all of its load, each: the node's counters do not know who was asked for.
func TestSamplerOfASharedAddress(t *testing.T) {
	t.Parallel()
	web := listener("192.168.1.1:80", cluster.TCP)
	locals := []loadmon.Local{{Service: "a", Instance: "x", Listeners: []cluster.Listener{web}}, {Service: "b", Instance: "x", Listeners: []cluster.Listener{web}}}
	host := &fakeHost{
		opened: map[cluster.Listener]uint64{web: 1000}, flows: map[cluster.Listener]Flows{web: {Active: 3}}, pids: map[cluster.Listener]int{web: 17},
		usage: map[int]Usage{17: {Source: "cgroup v2"}},
	}
	s, now := NewSampler("n1", host, 2), time.Now()
	_, err := s.Sample(t.Context(), locals, now)
	require.NoError(t, err)
	host.opened[web], host.usage[17] = 1050, Usage{Source: "cgroup v2", CPU: 5 * time.Second}
	r, err := s.Sample(t.Context(), locals, now.Add(5*time.Second))
	require.NoError(t, err)
	require.Len(t, r.Loads, 2)
	for _, l := range r.Loads {
		require.Equal(t, []any{uint64(50), uint64(3), 0.5}, []any{l.Connections, l.Active, l.Busy}, l.Service)
	}
}
