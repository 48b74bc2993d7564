package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon/check"
)

func TestReport(t *testing.T) {
	t.Parallel()
	const id = "[fd00::1]:80" // an id that must be escaped in a URL
	d := cluster.NewDraft()
	addr := netip.MustParseAddr("fd00::1")
	d.Node("n1", &cluster.Node{Addresses: []netip.Addr{addr}})
	d.Service("a", &cluster.Service{
		Name: "a", Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
		Instances: []cluster.Instance{{ID: id, Addr: addr, Port: 80, Weight: 1}},
	})
	checker := check.New(check.Options{Node: "n1"})
	checker.Want(d.Snapshot(1))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{Handler: check.Reports(checker)}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	to := "--to=" + l.Addr().String()

	report := func(args ...string) result {
		return weir(t, newFake(), append([]string{"report", "a", to}, args...)...)
	}
	r := report("--instance", id, "--leave", "--output", "new\nversion")
	require.Equal(t, result{}, r)
	h := checker.Health()["a"][id]
	require.Equal(t, cluster.Leaving, h.Verdict)
	require.Equal(t, "new version", h.Output)
	require.Equal(t, 0, report("--instance", id, "--back").code)
	require.Empty(t, checker.Health())
	require.Equal(t, 0, report("--instance", id).code, "well")

	r = report("--instance", "other")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, `404 Not Found): instance "other" of service "a": it does not run on this node`)
	for _, wrong := range [][]string{
		{}, {"--instance", id, "--ok", "--fail"}, {"--instance", "a b"}, {"--instance", id, "--to", "192.168.1.1:9645"}, {"--instance", id, "--to", "localhost"}, {"--instance", id, "b"}, {"--instance", id, "--fail", "--for", "3m"},
	} {
		r := report(wrong...)
		require.Equal(t, 2, r.code, "%v: %s", wrong, r.err)
	}
	_ = server.Close()
	r = report("--instance", id)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "is weir agent running, with that --report-listen?")
	require.Equal(t, 1, strings.Count(r.err, l.Addr().String())-strings.Count(r.err, "dial tcp "+l.Addr().String()))
}
