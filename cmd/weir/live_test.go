package main

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/etcd/embedded"
)

// node is an agent without a kernel: it applies each snapshot at once.
func node(t *testing.T, endpoint, name string) {
	s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{endpoint}})
	require.NoError(t, err)
	require.NoError(t, s.Join(t.Context(), name, &cluster.Node{Version: "test"}))
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Alive(ctx, name) })
	running.Go(func() {
		_ = s.Watch(ctx, etcd.WatchOptions{}, func(snapshot *cluster.Snapshot) {
			_ = s.Applied(ctx, name, cluster.Applied{Revision: snapshot.Revision, TookMS: 1, At: time.Now()})
		})
	})
	require.NoError(t, s.WatchApplied(t.Context(), func(alive map[string]bool, applied map[string]cluster.Applied) bool {
		return alive[name] && applied[name].Revision > 0
	}))
	t.Cleanup(func() {
		cancel()
		running.Wait()
		s.Close()
	})
}

// The commands against a real etcd, in the order in which an operator would use them.
func TestCommandsAgainstEtcd(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", NoSync: true})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	node(t, server.Endpoint(), "n1")
	node(t, server.Endpoint(), "n2")

	for _, step := range []struct {
		args string
		in   string
		code int
		out  string
		err  string
	}{
		{args: "get services -o name"},
		{args: "controlcenter config -f -", in: "vip_pools: [10.10.0.0/16]\n", err: "written at revision"},
		{args: "controlcenter config", out: "10.10.0.0/16"},
		{args: "controlcenter publish a --vip 10.10.1.128:8080 --instance 192.168.10.100:80 --instance 192.168.10.101:80=3", err: "applied on 2/2 nodes in "},
		{args: "controlcenter publish a --vip 10.10.1.128:8080 --instance 192.168.10.100:80 --instance 192.168.10.101:80=3", err: "already as wanted"},
		{args: "controlcenter plan a --vip 10.10.1.128:8080 --instance 192.168.10.100:80 --detailed-exitcode", code: 2, out: "- instance 192.168.10.101:80"},
		{args: "controlcenter publish b --vip 10.10.1.128:8080", code: 4, err: "10.10.1.128:8080 is taken by service a"},
		{args: "controlcenter publish -f -", in: "name: b\nports: [{port: 53, protocol: udp}]\ninstances: [\"192.168.10.7:53\"]\n", err: "+ frontend 10.10.0.1:53/udp"},
		{args: "controlcenter publish -f -", in: "name: c\nports: [{port: 53, protocol: udp}]\ninstances: [\"127.0.0.1:53\"]\n", code: 1, err: "stdin:3: service c: instances[0].address: 127.0.0.1 is a loopback address"},
		{args: "get services -o name", out: "service/a\nservice/b\n"},
		{args: "controlcenter drain a 192.168.10.100:80 --reason disk", err: "applied on 2/2 nodes"},
		{args: "controlcenter drain a 192.168.10.101", code: 3, err: "refused as unsafe"},
		{args: "get instances a", out: "192.168.10.100:80  draining  0       0.0%"},
		{args: "controlcenter undrain a 192.168.10.100:80", err: "applied on 2/2 nodes"},
		{args: "controlcenter weight a 192.168.10.100:80 1", err: "applied on 2/2 nodes"},
		{args: "get instances a", out: "192.168.10.101:80  serving  3       75.0%"},
		{args: "get nodes", out: "n2    alive"},
		{args: "controlcenter config -f -", in: "vip_pools: [10.99.0.0/16]\n", code: 3, err: "service a: vips[0]"},
		{args: "controlcenter withdraw a", err: "applied on 2/2 nodes"},
		{args: "get services -o name", out: "service/b\n"},
		{args: "guard", err: "nothing is held back"},
		{args: "guard accept --revision 3", err: "are accepted"},
		{args: "rbac n1", out: "etcdctl auth enable"},
	} {
		var out, talk bytes.Buffer
		a := newApp(strings.NewReader(step.in), &out, &talk)
		code := a.execute(t.Context(), append([]string{"weir"}, strings.Fields(step.args+" --etcd "+server.Endpoint())...))
		require.Equal(t, step.code, code, "%s: %s", step.args, talk.String())
		require.Contains(t, out.String(), step.out, step.args)
		require.Contains(t, talk.String(), step.err, step.args)
	}
}
