package cluster_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// A program, and an instance's own word, need an agent beside the instance.
func TestCheckThatNobodyRuns(t *testing.T) {
	t.Parallel()
	problems := func(check *cluster.Check, hosts ...string) (out []string) {
		d := cluster.NewDraft()
		s := service(t, "a", 3)
		s.Check = check
		d.Service("a", s)
		d.Node("n1", &cluster.Node{Addresses: addrs(hosts...)})
		for _, p := range resolved(t, d.Snapshot(1), "a").Problems {
			out = append(out, p.Error())
		}
		return out
	}
	exec := &cluster.Check{Exec: &cluster.ExecCheck{Command: []string{"/bin/true"}}}
	require.Equal(t, []string{"service a: check.exec: nobody checks 2 of its instances, of which i02 is the first: no agent of ours runs beside them: " +
		"use tcp, http or grpc, which other nodes can ask, or run an agent there"}, problems(exec, "192.168.10.1"))
	require.Equal(t, []string{"service a: check.ttl: nobody checks instance i03: no agent of ours runs beside it: " +
		"use tcp, http or grpc, which other nodes can ask, or run an agent there"}, problems(&cluster.Check{TTL: &cluster.TTLCheck{}}, "192.168.10.1", "192.168.10.2"))
	require.Empty(t, problems(exec, "192.168.10.1", "192.168.10.2", "192.168.10.3"))
	require.Empty(t, problems(&cluster.Check{TCP: &cluster.TCPCheck{}}))
	require.Empty(t, problems(nil))
}

func addrs(texts ...string) (out []netip.Addr) {
	for _, text := range texts {
		out = append(out, addr(text))
	}
	return out
}
