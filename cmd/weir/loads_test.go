package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/describe"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/internal/top"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/check"
	"github.com/weir-lb/weir/loadmon/monitor"
)

// steady measures every instance as if it took so many connections a second.
type steady struct {
	node  string
	rate  float64
	start time.Time
}

func (s steady) Sample(_ context.Context, locals []loadmon.Local, now time.Time) (loadmon.Report, error) {
	up := now.Sub(s.start).Seconds()
	r := loadmon.Report{Node: s.node, At: now, UptimeS: up, Host: loadmon.HostLoad{Processors: 2, CPU: 0.25, MemoryBytes: 1, MemoryTotalBytes: 2, Conntrack: 3, ConntrackMax: 4}}
	for _, l := range locals {
		r.Loads = append(r.Loads, loadmon.Load{Service: l.Service, Instance: l.Instance, Connections: uint64(s.rate * up), Active: 7, Busy: 0.5, OpenFiles: 9})
	}
	return r, nil
}

// quick is the real checker, to whom instances are said to answer in 2.5 ms.
type quick struct{ *check.Checker }

func (quick) Results() map[check.ID]check.Result {
	return map[check.ID]check.Result{{Service: "a", Instance: "192.168.1.1:80"}: {LatencyMS: 2.5}, {Service: "a", Instance: "192.168.1.2:80"}: {LatencyMS: 2.5}}
}

// monitored is a node with a real load monitor, of which only the kernel is made up. It ends with the test.
func monitored(t *testing.T, s *etcd.Store, name, address string, rate float64) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	metrics := monitor.NewMetrics(nil)
	m, err := monitor.New(monitor.Config{
		Node: name, Sampler: steady{name, rate, time.Now()}, Checker: quick{check.New(check.Options{Node: name, Logger: log})}, Store: s,
		Interval: 50 * time.Millisecond, Metrics: metrics,
	})
	require.NoError(t, err)
	server := &door.Server{What: monitor.What, Address: netip.MustParseAddrPort("127.0.0.1:0"), Handler: m.Handler(), Logger: log}
	require.NoError(t, server.Open())
	url := fmt.Sprintf("http://127.0.0.1:%d", server.Port())
	require.NoError(t, s.Join(t.Context(), name, &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr(address)}, Monitor: url}))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, run := range []func(context.Context) error{
		m.Run, server.Run, func(ctx context.Context) error { return s.Watch(ctx, etcd.WatchOptions{}, m.Deliver) },
		func(ctx context.Context) error { return s.Alive(ctx, name) },
	} {
		running.Go(func() { _ = run(ctx) })
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// ward is an etcd with service a on two nodes that are monitored, of which n1 takes three times as much, and on one that is not.
func ward(t *testing.T) *clinic {
	t.Helper()
	c := newClinic(t)
	s := c.store(t, etcd.Config{})
	put(t, s, "ops/secret", map[string]string{"token": strings.Repeat("t", 40)})
	publish := strings.Fields("controlcenter publish a --vip 10.10.1.1:80 --instance 192.168.1.1:80 --instance 192.168.1.2:80 --no-wait")
	require.Equal(t, 0, c.run(t, publish...).code)
	monitored(t, s, "n1", "192.168.1.1", 3000)
	monitored(t, s, "n2", "192.168.1.2", 1000)
	require.NoError(t, s.Join(t.Context(), "n3", &cluster.Node{}))
	require.Eventually(t, func() bool { // both have sampled
		return !strings.Contains(c.run(t, "get", "instances", "-o", "wide", "--sample=0").out, "-     -        -")
	}, 30*time.Second, 50*time.Millisecond)
	return c
}

func put(t *testing.T, s *etcd.Store, key string, value any) {
	t.Helper()
	raw, err := s.Client()
	require.NoError(t, err)
	text, err := json.Marshal(value)
	require.NoError(t, err)
	_, err = raw.Put(t.Context(), s.Prefix()+key, string(text))
	require.NoError(t, err)
}

func read[T any](t *testing.T, r result) (out T) {
	t.Helper()
	require.Equal(t, 0, r.code, r.err)
	require.NoError(t, json.Unmarshal([]byte(r.out), &out), r.out)
	return out
}

// What the load monitors measured stands beside what etcd says, in every view.
func TestViewsShowLoads(t *testing.T) {
	t.Parallel()
	c := ward(t)
	wide := c.run(t, "get", "instances", "-o", "wide", "--sample=0")
	require.Equal(t, "", wide.err)
	require.Regexp(t, `192\.168\.1\.1:80 .* n1 +- +file +7 +50% +2\.5ms`, wide.out)
	instances := read[[]controlcenter.InstanceRow](t, c.run(t, "get", "instances", "-o", "json", "--sample=0"))
	require.Equal(t, []any{uint64(7), 0.5, 2.5}, []any{*instances[1].Active, *instances[1].Busy, *instances[1].LatencyMS})
	services := read[[]controlcenter.ServiceRow](t, c.run(t, "get", "services", "-o", "json"))
	require.Equal(t, []any{uint64(14), 0.5, 2.5}, []any{*services[0].Active, *services[0].Busy, *services[0].LatencyMS})
	nodes := read[[]controlcenter.NodeRow](t, c.run(t, "get", "nodes", "-o", "json"))
	require.Equal(t, []any{0.25, 0.5, 0.75}, []any{*nodes[0].CPU, *nodes[0].Memory, *nodes[0].Conntrack})
	require.Regexp(t, "^http://127.0.0.1:[0-9]+$", nodes[0].Monitor)
	require.Nil(t, nodes[2].CPU, "it has no load monitor")
	one := read[describe.Service](t, c.run(t, "describe", "service", "a", "-o", "json"))
	require.Equal(t, uint64(9), one.Rows[0].Load.OpenFiles)
	require.Equal(t, cluster.ByFile, one.Rows[0].By)
	require.Contains(t, c.run(t, "describe", "service", "a").out, "192.168.1.1:80  n1    -     serving  1       file  50.0%  7       50%   2.5ms")
}

func TestTopOnce(t *testing.T) {
	t.Parallel()
	c := ward(t)
	f := read[top.Frame](t, c.run(t, "top", "--once", "-o", "json"))
	require.Empty(t, f.Notes)
	a := f.Services[0].Instances
	require.InDelta(t, 3000, *a[0].NewPerS, 100)
	require.InDelta(t, 75, *a[0].Have, 3)
	require.InDelta(t, -25, *a[1].Drift, 3)
	require.Equal(t, 50.0, a[0].Want)
	require.InDelta(t, 4000, *f.Services[0].NewPerS, 150)
	require.Equal(t, "n3", f.Nodes[0].Name, "nobody keeps it alive, so it comes first")
	require.Equal(t, []string{top.MonitorNone, top.MonitorOK, top.MonitorOK}, []string{f.Nodes[0].Monitor, f.Nodes[1].Monitor, f.Nodes[2].Monitor})
	require.Equal(t, []any{0.25, 0.5, 0.75}, []any{*f.Nodes[1].CPU, *f.Nodes[1].Memory, *f.Nodes[1].Conntrack})
}

// A user who may not read the token, and one whose nodes do not answer, see the rest, and why the loads are missing.
func TestViewsWithoutLoads(t *testing.T) {
	t.Parallel()
	c := ward(t)
	s := c.store(t, etcd.Config{})
	require.NoError(t, s.Join(t.Context(), "n4", &cluster.Node{Monitor: "http://127.0.0.1:1"}))
	r := c.run(t, "get", "nodes", "-o", "wide")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.err, "warning: loads are missing: ask the load monitor of node n4 at http://127.0.0.1:1: ")
	require.Contains(t, r.out, "25%")
	for _, line := range []string{"describe service a", "get instances a -o wide --sample=0", "get services -o wide", "get nodes n1 -o wide"} {
		r := c.run(t, strings.Fields(line)...)
		require.NotContains(t, r.out+r.err, "n4", "it has nothing to do with it, and is not asked: %s", line)
	}

	c.flags = []string{"--etcd-user", "weir-viewer", "--etcd-password-file", c.authenticate(t, "n1")}
	for _, line := range []string{"get instances -o wide --sample=0", "get services -o json", "get nodes -o wide"} {
		r = c.run(t, strings.Fields(line)...)
		require.Equal(t, 0, r.code, r.err)
		require.Contains(t, r.err, "warning: loads are not shown: read the load monitors' token: ", line)
		require.NotEmpty(t, r.out)
	}
	r = c.run(t, "describe", "service", "a")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.out, "notes\n  loads are not shown: read the load monitors' token: ")
	r = c.run(t, "top", "--once")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.out, "note: loads are not shown: read the load monitors' token: ")
	require.Contains(t, r.out, "192.168.1.1:80")
}

func TestViewsWithoutToken(t *testing.T) {
	t.Parallel()
	f := cast(t)
	require.Contains(t, weir(t, f, "top", "--once").out, "note: loads are not shown: no node that could know them tells where its load monitor answers")
	require.Contains(t, weir(t, f, "get", "nodes", "-o", "wide").err, "loads are not shown: no node that could know them tells")
	f.Edit(func(d *cluster.Draft) { d.Node("n1", &cluster.Node{Monitor: "http://127.0.0.1:1"}) })
	require.Contains(t, weir(t, f, "top", "--once").out, "note: loads are not shown: there is no token in ops/secret yet")
	require.Contains(t, weir(t, f, "get", "nodes", "-o", "wide").err, "there is no token in ops/secret yet")
	require.NotContains(t, weir(t, f, "get", "nodes").err, "token", "nobody was to be asked")
}
