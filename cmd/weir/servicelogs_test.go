package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/logs"
)

// kept is a shelf of directories.
type kept struct{ root string }

func (k kept) Kept() (out []launcher.Kept, err error) {
	entries, err := os.ReadDir(k.root)
	for _, e := range entries {
		out = append(out, launcher.Kept{ID: e.Name(), Service: "shop", Dir: filepath.Join(k.root, e.Name())})
	}
	return out, err
}

func (k kept) write(t *testing.T, id string, lines ...string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(k.root, id), 0o700))
	f, err := os.OpenFile(filepath.Join(k.root, id, "output.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.WriteString(strings.Join(lines, "\n") + "\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// handing is a node whose launcher hands out what lies on its shelf.
func handing(t *testing.T, s *etcd.Store, node string) kept {
	t.Helper()
	shelf, registry := kept{t.TempDir()}, prometheus.NewRegistry()
	server, err := (&launcherDoors{logs: "127.0.0.1:9"}).shown(etcdFlags{}, shelf, s, registry, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	server.Address = netip.MustParseAddrPort("127.0.0.1:0")
	require.NoError(t, server.Open())
	launching(t, s, node, fmt.Sprintf("http://127.0.0.1:%d", server.Port()))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return shelf
}

func launching(t *testing.T, s *etcd.Store, node, url string) {
	t.Helper()
	require.NoError(t, s.Join(t.Context(), node, &cluster.Node{}))
	put(t, s, "ops/launchers/"+node, cluster.Launcher{Drivers: []string{"process"}, Logs: url, Ports: cluster.PortRange{From: 1, To: 2}})
}

func TestLogs(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	s := c.store(t, etcd.Config{})
	put(t, s, "ops/secret", map[string]string{"token": strings.Repeat("t", 40)})
	publish := strings.Fields("controlcenter publish shop --vip 10.10.1.1:80 --instance 192.168.1.1:80 --no-wait")
	require.Equal(t, 0, c.run(t, publish...).code)
	r := c.run(t, "logs", "shop")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "no node has a launcher that keeps what instances write")
	n1, n2 := handing(t, s, "n1"), handing(t, s, "n2")
	n1.write(t, "shop-1", "2026-01-02T12:00:00.000000Z stdout F first", "2026-01-02T12:00:03.000000Z stderr F \x1b[2Jthird")
	r = c.run(t, "logs", "shop")
	require.Equal(t, result{0, "first\n\\u001b[2Jthird\n", ""}, r)
	n2.write(t, "shop-2", "2026-01-02T12:00:01.000000Z stdout F second", "2026-01-02T12:00:04.000000Z stdout P fourth")
	require.Equal(t, "shop-1 | first\nshop-2 | second\nshop-1 | \\u001b[2Jthird\nshop-2 | fourth\n", c.run(t, "logs", "shop").out)
	require.Equal(t, "2026-01-02T12:00:01.000000Z second\n2026-01-02T12:00:04.000000Z fourth\n", c.run(t, "logs", "shop", "--instance", "shop-2", "-t").out)
	require.Equal(t, "shop-1 | \\u001b[2Jthird\nshop-2 | fourth\n", c.run(t, "logs", "shop", "--tail", "1").out)
	require.Equal(t, "shop-2 | fourth\n", c.run(t, "logs", "shop", "--since", "2026-01-02T12:00:03.5Z").out)
	require.Equal(t, `{"instance":"shop-2","at":"2026-01-02T12:00:04Z","stream":"stdout","text":"fourth","part":true}`+"\n", c.run(t, "logs", "shop", "--since", "2026-01-02T12:00:04Z", "-o", "json").out)

	r = c.run(t, "logs", "shop", "--instance", "other")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "nothing is kept of instance other")
	r = c.run(t, "logs", "shpo")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "shpo")

	require.Equal(t, 0, c.run(t, "controlcenter", "withdraw", "shop", "--no-wait").code)
	require.Equal(t, "shop-2 | fourth\n", c.run(t, "logs", "shop", "--since", "2026-01-02T12:00:03.5Z").out, "of one that was withdrawn")

	// A node that cannot be asked is named, and the rest is shown.
	launching(t, s, "n3", "http://127.0.0.1:1")
	launching(t, s, "n4", "")
	put(t, s, "ops/assign/n5/shop-5", cluster.Assignment{Service: "shop", Wanted: cluster.WantServing, Version: "v"})
	r = c.run(t, "logs", "shop", "--tail", "1")
	require.Equal(t, 9, r.code)
	require.Equal(t, "shop-1 | \\u001b[2Jthird\nshop-2 | fourth\n", r.out)
	require.Contains(t, r.err, "warning: node n3: ask the launcher of node n3 at http://127.0.0.1:1: ")
	require.Contains(t, r.err, "connection refused")
	require.Contains(t, r.err, "warning: node n4: its launcher does not hand out logs")
	require.Contains(t, r.err, "warning: node n5: its launcher is not in touch with etcd")
	require.Contains(t, r.err, "error: a part is missing: what instances on n3, n4, n5 wrote")
}

// locked is an output that is read while it is written.
type locked struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestLogsGoOn(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	s := c.store(t, etcd.Config{})
	put(t, s, "ops/secret", map[string]string{"token": strings.Repeat("t", 40)})
	publish := strings.Fields("controlcenter publish shop --vip 10.10.1.1:80 --instance 192.168.1.1:80 --no-wait")
	require.Equal(t, 0, c.run(t, publish...).code)
	n1 := handing(t, s, "n1")
	n1.write(t, "shop-1", "2026-01-02T12:00:00.000000Z stdout F old", "2026-01-02T12:00:01.000000Z stdout F last")
	ctx, cancel := context.WithCancel(t.Context())
	var out, talk locked
	ended := make(chan int)
	go func() {
		a := newApp(strings.NewReader(""), &out, &talk)
		ended <- a.execute(ctx, append([]string{"weir", "logs", "shop", "-f", "--tail", "1"}, "--etcd", c.endpoint))
	}()
	shows := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool { return out.String() == want }, 20*time.Second, 10*time.Millisecond, "%s", &out)
	}
	shows("shop-1 | last\n")
	n1.write(t, "shop-1", "2026-01-02T12:00:02.000000Z stdout F new")
	shows("shop-1 | last\nshop-1 | new\n")
	n1.write(t, "shop-2", "2026-01-02T12:00:03.000000Z stdout F begun")
	shows("shop-1 | last\nshop-1 | new\nshop-2 | begun\n")
	cancel()
	require.Equal(t, 0, <-ended, talk.String())
}

func TestLogsArguments(t *testing.T) {
	t.Parallel()
	for says, args := range map[string][]string{
		`an argument is missing: want "weir logs SERVICE": see weir logs --help`: {"logs"},
		"see weir get services":          {"logs", "A B"},
		"--instance: ":                   {"logs", "a", "--instance", "../a"},
		"--tail -2: want a number":       {"logs", "a", "--tail", "-2"},
		"use one of text, json":          {"logs", "a", "-o", "yaml"},
		"want how long ago, such as 10m": {"logs", "a", "--since", "yesterday"},
	} {
		r := weir(t, newFake(), args...)
		require.Equal(t, 2, r.code, "%v", args)
		require.Contains(t, r.err, says)
	}
	o := &serviceLogsOptions{app: newApp(nil, nil, nil), ask: logs.Ask{Service: "a", Tail: defaultTail}}
	o.now = func() time.Time { return noon }
	require.NoError(t, o.since.Set("1m"))
	require.NoError(t, o.check(false))
	require.Equal(t, logs.Ask{Service: "a", Tail: -1, Since: noon.Add(-time.Minute)}, o.ask, "since a time means all lines of that time")
}
