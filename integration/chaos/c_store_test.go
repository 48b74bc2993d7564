package chaos

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// want is what a node's kernel should hold.
type want map[cluster.Frontend]map[netip.AddrPort]int

func (x want) set(f cluster.Frontend, instances ...string) {
	x[f] = map[netip.AddrPort]int{}
	for _, i := range instances {
		x[f][netip.MustParseAddrPort(i)]++
	}
}

// behindProxy puts a proxy between an agent that is not started yet and its etcd.
func (r *run) behindProxy(w *integration.World, a *integration.Agent) *lab.Proxy {
	r.Helper()
	socket := filepath.Join(w.Dir, "proxy-"+a.Name)
	l, err := net.Listen("unix", socket)
	require.NoError(r, err)
	p := lab.StartProxy(l, func() (net.Conn, error) { return net.Dial("unix", strings.TrimPrefix(w.Endpoint(), "unix://")) })
	r.Cleanup(func() { _ = p.Close() })
	reach(w, a, "--etcd", "unix://"+socket)
	return p
}

// compactedAway keeps an agent from etcd while 1,000 things change, some for good, and the history of it is thrown away.
func compactedAway(r *run) {
	const services, changes, deleted = 20, 1000, 5
	w := r.world(integration.Options{Nodes: 1, Idle: true})
	a := w.Agents[0]
	proxy := r.behindProxy(w, a)
	a.Start()
	w.AwaitAgents(1)
	p := r.probe(w)
	expected := want(w.Slots(w.Nodes[0]))
	var all []*cluster.Service
	for i := range services {
		f := w.Frontend(cluster.TCP, false)
		all = append(all, integration.Service(fmt.Sprintf("s%d", i), f, p.addresses[0]))
		expected.set(f, p.addresses[0])
	}
	w.Publish(all...)
	proxy.Freeze(true)
	proxy.Cut()
	for i := range changes {
		n, to := i%services, p.addresses[(i/services)%3]
		f := all[n].Frontends()[0]
		w.PutAll([]*cluster.Service{integration.Service(all[n].Name, f, to)})
		expected.set(f, to)
	}
	client, err := w.Store.Client()
	require.NoError(r, err)
	var last int64
	for _, s := range all[:deleted] {
		gone, err := client.Delete(r.Context(), w.Store.Prefix()+"net/services/"+s.Name)
		require.NoError(r, err)
		last = gone.Header.Revision
		delete(expected, s.Frontends()[0])
	}
	_, err = client.Compact(r.Context(), last)
	require.NoError(r, err)
	proxy.Freeze(false)
	proxy.Cut()
	began := time.Now()
	a.AwaitRevision(last, 30*time.Second)
	r.repaired(time.Since(began))
	got := w.Slots(w.Nodes[0])
	r.figure("diff", float64(differences(expected, got)))
	require.Equal(r, expected, want(got))
	p.unharmed()
}

func differences(a, b map[cluster.Frontend]map[netip.AddrPort]int) (n int) {
	for f := range a {
		if fmt.Sprint(a[f]) != fmt.Sprint(b[f]) {
			n++
		}
	}
	for f := range b {
		if _, known := a[f]; !known {
			n++
		}
	}
	return n
}

// wiped empties etcd under two agents, of which one then starts anew. What was there keeps serving until an operator says
// that it may go.
func wiped(r *run) {
	m := r.members(1)
	w := r.world(integration.Options{Members: m, Nodes: 2})
	p, restarted := r.probe(w), w.Agents[0]
	before := w.Slots(w.Nodes[0])
	w.Eventually(15*time.Second, "the snapshot file has the services", func() bool {
		text, err := os.ReadFile(filepath.Join(restarted.StateDir, "snapshot.json"))
		return err == nil && strings.Contains(string(text), `"probed"`)
	})
	m.All[0].Kill()
	m.All[0].Wipe()
	m.All[0].Start()
	began := time.Now()
	for _, a := range w.Agents {
		w.Eventually(15*time.Second, "the agent holds the deletions", func() bool { return a.Metric("weir_agent_held") == 1 })
	}
	r.detected(time.Since(began))
	restarted.Kill()
	restarted.Start()
	w.Eventually(15*time.Second, "so does the one that starts anew", func() bool {
		code, _ := restarted.Get("/livez")
		return code != 0 && restarted.Metric("weir_agent_held") == 1
	})
	p.more(1000)
	for _, host := range w.Nodes {
		require.Equal(r, before, w.Slots(host))
	}
	p.unharmed()
	require.LessOrEqual(r, r.line.Detect, 8000.0)

	f := w.Frontend(cluster.TCP, false)
	w.Write(integration.Service("new", f, p.addresses[0]))
	after := want{}
	after.set(f, p.addresses[0])
	held := int64(0) // each node tells of the list that it saw
	for _, a := range w.Agents {
		held = max(held, w.Told(a.Name, 10*time.Second, func(a cluster.Applied) bool { return a.Held != nil }).Held.Revision)
	}
	said, code := r.weir(w, "guard")
	require.Zero(r, code, said)
	require.Contains(r, said, "n1")
	require.Contains(r, said, "n2")
	require.Contains(r, w.Slots(restarted.Host), p.tcp)
	said, code = r.weir(w, "guard", "accept", "--revision", strconv.FormatInt(held, 10))
	require.Zero(r, code, said)
	for _, host := range w.Nodes {
		w.Eventually(10*time.Second, "what was confirmed is gone", func() bool { return differences(after, w.Slots(host)) == 0 })
	}
}

// rolledBack brings back an older backup of etcd. What was made since is missing then: that is told and held.
func rolledBack(r *run) {
	m := r.members(1)
	w := r.world(integration.Options{Members: m, Nodes: 1})
	p, f, a := r.probe(w), w.Frontend(cluster.TCP, false), w.Agents[0]
	file := filepath.Join(w.Dir, "backup")
	m.All[0].Save(file)
	w.Publish(integration.Service("since", f, p.addresses[0]))
	before := w.Slots(w.Nodes[0])
	m.All[0].Kill()
	m.All[0].Restore(file)
	m.All[0].Start()
	began := time.Now()
	w.Eventually(15*time.Second, "the agent holds the deletion", func() bool { return a.Metric("weir_agent_held") == 1 })
	r.detected(time.Since(began))
	require.Equal(r, before, w.Slots(w.Nodes[0]))
	w.Only(w.Nodes[0], f, p.addresses[0])
	told := w.Told("n1", 10*time.Second, func(a cluster.Applied) bool { return a.Held != nil })
	require.Contains(r, told.Held.Reason, "lower than one seen before: it was wiped or restored")
	r.figure("alarm", 1)
	p.unharmed()
	said, code := r.weir(w, "guard", "accept", "--revision", strconv.FormatInt(told.Held.Revision, 10))
	require.Zero(r, code, said)
	w.Eventually(10*time.Second, "what was confirmed is gone", func() bool { return len(w.Slots(w.Nodes[0])) == len(before)-1 })
	require.LessOrEqual(r, r.line.Detect, 8000.0)
}

// outOfSpace fills etcd to its quota. Agents live, also one that starts now, and nobody storms.
func outOfSpace(r *run) {
	const window = 20 * time.Second
	m := r.members(1, "--quota-backend-bytes", strconv.Itoa(16<<20))
	w := r.world(integration.Options{Members: m})
	p, f := r.probe(w), w.Frontend(cluster.TCP, false)
	client, err := w.Store.Client()
	require.NoError(r, err)
	for i := 0; err == nil; i++ {
		require.Less(r, i, 100)
		_, err = client.Put(r.Context(), fmt.Sprint("/filler/", i), strings.Repeat("x", 512<<10))
	}
	said, code := r.weir(w, "controlcenter", "publish", "more", "--vip", f.String(), "--instance", p.addresses[0])
	require.Equal(r, 1, code, said)
	require.Contains(r, said, "etcd is full and read-only")
	require.Contains(r, said, "etcdctl alarm disarm")
	last := w.Agents[len(w.Agents)-1]
	last.Kill()
	last.Start()
	last.AwaitReady(20 * time.Second)
	began, before := time.Now(), requests(m.All[0])
	<-time.After(window)
	r.figure("requests_per_agent_s", (requests(m.All[0])-before)/seconds(began)/float64(len(w.Agents)))
	for _, a := range w.Agents {
		a.AwaitReady(time.Second)
	}
	p.unharmed()
	require.LessOrEqual(r, r.line.Figures["requests_per_agent_s"], 1.0)
}

// requests counts what clients have asked a member for, each message of a stream included.
func requests(m *integration.Member) float64 { return m.Metric("grpc_server_msg_received_total") }

// leaseRevoked takes the lease of a node's presence away by hand.
func leaseRevoked(r *run) {
	w := r.world(integration.Options{Nodes: 1})
	p := r.probe(w)
	client, err := w.Store.Client()
	require.NoError(r, err)
	key := w.Store.Prefix() + "ops/alive/n1"
	lease := func() clientv3.LeaseID {
		got, err := client.Get(r.Context(), key)
		require.NoError(r, err)
		if len(got.Kvs) == 0 {
			return clientv3.NoLease
		}
		return clientv3.LeaseID(got.Kvs[0].Lease)
	}
	before := lease()
	_, err = client.Revoke(r.Context(), before)
	require.NoError(r, err)
	require.NotEqual(r, before, lease(), "the key goes with its lease") // there may be one with another lease by now
	r.figure("out_of_pool_s", w.Eventually(15*time.Second, "the node is back", func() bool { return lease() != clientv3.NoLease }).Seconds())
	require.NotEqual(r, before, lease())
	p.unharmed()
	require.Less(r, r.line.Figures["out_of_pool_s"], 4.0)
}
