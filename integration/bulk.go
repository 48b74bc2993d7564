package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// PutAll writes services as fast as etcd takes them: in transactions of 128, without the checks of a publish, and
// without its barrier: AwaitMetric waits for them.
func (w *World) PutAll(services []*cluster.Service) (revision int64) {
	w.t.Helper()
	client, err := w.Store.Client()
	require.NoError(w.t, err)
	for len(services) > 0 {
		var ops []clientv3.Op
		n := min(len(services), 128)
		for _, s := range services[:n] {
			value, err := json.Marshal(s)
			require.NoError(w.t, err)
			ops = append(ops, clientv3.OpPut(w.Store.Prefix()+"net/services/"+s.Name, string(value)))
		}
		r, err := client.Txn(w.t.Context()).Then(ops...).Commit()
		require.NoError(w.t, err)
		revision, services = r.Header.Revision, services[n:]
	}
	return revision
}

// Many makes n services of so many instances each, which exist in etcd and in rules only. Different ports make different
// instances.
func Many(n, instances int, port uint16) (out []*cluster.Service) {
	for i := range n {
		f := cluster.Frontend{VIP: netip.AddrFrom4([4]byte{10, 10, byte(64 + i/250), byte(1 + i%250)}), Proto: cluster.TCP, Port: 80}
		s := Service(fmt.Sprintf("many-%d", i), f)
		for k := range instances {
			address := netip.AddrFrom4([4]byte{192, 168, byte(11 + i/250), byte(1 + i%250)})
			s.Instances = append(s.Instances, Service("", f, netip.AddrPortFrom(address, port+uint16(k)).String()).Instances...)
		}
		out = append(out, s)
	}
	return out
}

// AwaitRevision waits until an agent's kernel holds a revision.
func (a *Agent) AwaitRevision(revision int64, within time.Duration) {
	a.w.t.Helper()
	a.w.Eventually(within, fmt.Sprintf("agent %s applies revision %d", a.Name, revision), func() bool {
		code, _ := a.Get("/livez")
		return code != 0 && a.Metric("weir_agent_revision") >= float64(revision)
	})
}

// IdleCPU measures what one agent costs while nothing happens: the processor time that it uses during the window with so
// many services of five instances each.
func IdleCPU(t TB, program string, services int, window time.Duration) (used time.Duration) {
	t.Helper()
	w := NewWorld(t, Options{Program: program})
	a := w.Agents[0]
	a.AwaitRevision(w.PutAll(Many(services, 5, 80)), time.Minute)
	settled := a.CPU() // the snapshot file is still written in the background, at most every ten seconds
	w.Eventually(time.Minute, "the agent comes to rest", func() bool {
		before := settled
		<-time.After(12 * time.Second)
		settled = a.CPU()
		return settled-before < 500*time.Millisecond
	})
	<-time.After(window)
	return a.CPU() - settled
}
