package integration

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/lab"
)

// The networks that VIPs are taken from. The client of a World reaches them through its first node.
var (
	VIPs4 = netip.MustParsePrefix("10.10.0.0/16")
	VIPs6 = netip.MustParsePrefix("fd10::/64")
)

// TB is the part of testing.TB that a World uses; a program that is no test hands in its own.
type TB interface {
	lab.TB
	Logf(format string, args ...any)
	FailNow()
	Context() context.Context
}

// Options of a World.
type Options struct {
	Program   string   // the weir binary
	Nodes     int      // default 1
	Instances int      // hosts for instances, default 3
	Owner     string   // --table-owner of the agents, default auto
	Driver    string   // of the agents: nft, ipt, or ipt-nft and ipt-legacy for one kind of iptables; "": the agents' own choice
	Etcd      string   // an etcd binary to run as a process; "": the embedded server
	Members   *Members // an etcd that runs already, used in place of the two
	Brought   bool     // the control centers bring the etcd along: StartMembers starts them, and the agents
	Idle      bool     // the agents are not started
	AgentArgs []string // further flags of the agents
}

// World is a cluster: nodes with an agent process each, hosts for instances, a client that is routed through the first
// node, and an etcd on a unix socket, which every namespace can reach.
type World struct {
	*lab.Cluster
	Lab    *lab.Lab
	Store  *etcd.Store
	Agents []*Agent
	Dir    string

	ControlCenters []*ControlCenter // as StartControlCenters adds them

	t       TB
	o       Options
	server  server
	claimed *int
	hired   *int
}

// NewWorld builds a cluster that is gone when the test ends, and returns once all agents are alive.
func NewWorld(t TB, o Options) *World {
	t.Helper()
	o.Nodes, o.Instances = max(o.Nodes, 1), max(o.Instances, 3)
	if o.Owner == "" {
		o.Owner = "auto"
	}
	w := &World{t: t, o: o, claimed: new(int), hired: new(int)}
	var err error
	w.Dir, err = os.MkdirTemp("", "weir-world-") // short: the path of a unix socket has at most 107 bytes
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(w.Dir)) })
	require.NoError(t, os.Mkdir(filepath.Join(w.Dir, "etcd"), 0o700))
	w.server = newServer(o, filepath.Join(w.Dir, "etcd"))
	t.Cleanup(w.server.stop)
	require.NoError(t, w.server.start())
	w.Lab = lab.Test(t)
	w.Cluster, err = lab.NewCluster(w.Lab, o.Nodes, o.Instances)
	require.NoError(t, err)
	require.NoError(t, w.RouteVIPs(w.Client, w.Nodes[0], VIPs4, VIPs6))
	w.Store, err = etcd.Open(context.Background(), etcd.Config{Endpoints: strings.Split(w.server.endpoint(), ",")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Store.Close()) })
	for i, host := range w.Nodes {
		w.Agents = append(w.Agents, w.NewAgent(fmt.Sprintf("n%d", i+1), host))
	}
	// Runs before the lab is closed: what an agent has to say about a failed test is worth reading.
	t.Cleanup(func() {
		for _, a := range w.Agents {
			a.finish()
		}
	})
	if !o.Idle && !o.Brought {
		for _, a := range w.Agents {
			a.Start()
		}
		w.AwaitAgents(len(w.Agents))
	}
	return w
}

// With is the same World with failures told to a subtest.
func (w *World) With(t TB) *World {
	same := *w
	same.t = t
	return &same
}

// Endpoint of the etcd; several are separated by commas.
func (w *World) Endpoint() string { return w.server.endpoint() }

// StopEtcd ends the etcd; its data stays.
func (w *World) StopEtcd() { w.server.stop() }

// StartEtcd starts it again.
func (w *World) StartEtcd() {
	w.t.Helper()
	require.NoError(w.t, w.server.start())
}

// Serve runs an instance for TCP and UDP and returns its address, which is also the id that it answers with.
func (w *World) Serve(host *lab.Host, port uint16, v6 bool) (string, *lab.Instance) {
	w.t.Helper()
	address := netip.AddrPortFrom(host.Addr4, port)
	if v6 {
		address = netip.AddrPortFrom(host.Addr6, port)
	}
	i, err := lab.Serve(host.Namespace, address.String(), address)
	require.NoError(w.t, err)
	return address.String(), i
}

// ServeAll runs an instance on port 80 of the first n hosts.
func (w *World) ServeAll(n int, v6 bool) (addresses []string) {
	w.t.Helper()
	for _, host := range w.Instances[:n] {
		address, _ := w.Serve(host, 80, v6)
		addresses = append(addresses, address)
	}
	return addresses
}

// Frontend claims a VIP that nobody else in this World has.
func (w *World) Frontend(proto cluster.Proto, v6 bool) cluster.Frontend {
	*w.claimed++
	vip := netip.AddrFrom4([4]byte{10, 10, byte(*w.claimed >> 8), byte(*w.claimed)})
	if v6 {
		vip = netip.MustParseAddr(fmt.Sprintf("fd10::%x", *w.claimed))
	}
	return cluster.Frontend{VIP: vip, Proto: proto, Port: 8080}
}

// Service makes a service of one frontend. Instances are "IP:PORT" or "IP:PORT*WEIGHT".
func Service(name string, f cluster.Frontend, instances ...string) *cluster.Service {
	s := &cluster.Service{Name: name, VIPs: []netip.Addr{f.VIP}, Ports: []cluster.Port{{Port: f.Port, Protocol: f.Proto}}}
	for _, text := range instances {
		address, weight, weighted := strings.Cut(text, "*")
		i, err := cluster.ParseInstance(address)
		if err != nil {
			panic(err)
		}
		if weighted {
			if _, err := fmt.Sscan(weight, &i.Weight); err != nil {
				panic(err)
			}
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}

// Write publishes services without waiting for the nodes, and returns the last revision.
func (w *World) Write(services ...*cluster.Service) (revision int64) {
	w.t.Helper()
	var entries []controlcenter.Entry
	for _, s := range services {
		entries = append(entries, controlcenter.Entry{Service: s})
	}
	done, err := controlcenter.Publish(w.t.Context(), w.Store, entries, controlcenter.How{Force: true})
	require.NoError(w.t, err)
	for _, d := range done {
		revision = max(revision, d.Revision)
	}
	return revision
}

// Publish publishes services and waits until every live node has them without a problem.
func (w *World) Publish(services ...*cluster.Service) int64 {
	w.t.Helper()
	revision := w.Write(services...)
	var names []string
	for _, s := range services {
		names = append(names, s.Name)
	}
	w.Await(revision, names...)
	return revision
}

// Withdraw removes a service and waits for the nodes.
func (w *World) Withdraw(name string) {
	w.t.Helper()
	done, err := controlcenter.Withdraw(w.t.Context(), w.Store, name, controlcenter.How{Force: true})
	require.NoError(w.t, err)
	w.Await(done.Revision)
}

// Commit writes one change of an operator and waits for the nodes.
func (w *World) Commit(change cluster.Change) int64 {
	w.t.Helper()
	revision, err := w.Store.Commit(w.t.Context(), change)
	require.NoError(w.t, err)
	w.Await(revision)
	return revision
}

// Drain takes an instance out of a service, or (with false) puts it back, and waits for the nodes.
func (w *World) Drain(service, instance string, drain bool) {
	w.t.Helper()
	snapshot, err := w.Store.Snapshot(w.t.Context())
	require.NoError(w.t, err)
	change, err := controlcenter.PlanAdmin(snapshot, [2]string{service, instance}, controlcenter.Word{Drain: &drain, Force: true}, time.Now())
	require.NoError(w.t, err)
	w.Commit(change)
}

// Await waits until all live nodes have applied a revision, without a problem of these services.
func (w *World) Await(revision int64, services ...string) controlcenter.Progress {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	progress, err := controlcenter.Wait(ctx, w.Store, controlcenter.Awaited{Revision: revision, Services: services}, nil)
	require.NoError(w.t, err)
	return progress
}

// AwaitAgents waits until exactly n nodes are alive.
func (w *World) AwaitAgents(n int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	require.NoError(w.t, w.Store.WatchApplied(ctx, func(alive map[string]bool, _ map[string]cluster.Applied) bool { return len(alive) == n }))
}

// Told returns what a node last said that it has applied, once that satisfies a condition.
func (w *World) Told(node string, within time.Duration, enough func(cluster.Applied) bool) (last cluster.Applied) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), within)
	defer cancel()
	err := w.Store.WatchApplied(ctx, func(_ map[string]bool, applied map[string]cluster.Applied) bool {
		last = applied[node]
		return enough(last)
	})
	require.NoError(w.t, err, "node %s last told %+v", node, last)
	return last
}

// Put writes an etcd key as it stands, which no command of ours would.
func (w *World) Put(key, value string) int64 {
	w.t.Helper()
	client, err := w.Store.Client()
	require.NoError(w.t, err)
	r, err := client.Put(w.t.Context(), w.Store.Prefix()+key, value)
	require.NoError(w.t, err)
	return r.Header.Revision
}

// Eventually waits for a condition and returns how long it took, to a hundredth. The longer it takes the more seldom it
// looks: many a look is a program, and takes the processor from what is waited for.
func (w *World) Eventually(within time.Duration, what string, ok func() bool) time.Duration {
	w.t.Helper()
	start := time.Now()
	for !ok() {
		passed := time.Since(start)
		if passed > within {
			require.FailNow(w.t, "never happened within "+within.String(), what)
		}
		<-time.After(min(max(passed/100, 2*time.Millisecond), 50*time.Millisecond))
	}
	return time.Since(start)
}

// Address is a frontend as clients write it.
func Address(f cluster.Frontend) netip.AddrPort { return netip.AddrPortFrom(f.VIP, f.Port) }

// Load is a load on a frontend.
func Load(f cluster.Frontend, connections int) lab.Load {
	return lab.Load{Frontend: Address(f), Network: f.Proto.String(), Connections: connections}
}

// Flood opens connections from a host; none of them may fail.
func (w *World) Flood(from *lab.Host, f cluster.Frontend, connections int) lab.Result {
	w.t.Helper()
	r, err := lab.Flood(w.t.Context(), from.Namespace, Load(f, connections))
	require.NoError(w.t, err)
	require.Zero(w.t, r.Failed, "from %s to %s: %s", from.Name(), f, r)
	return r
}

// Only opens connections from a host and requires that exactly these instances answer.
func (w *World) Only(from *lab.Host, f cluster.Frontend, instances ...string) {
	w.t.Helper()
	r := w.Flood(from, f, 30*len(instances)) // one of n instances left out by chance: n * (1-1/n)^30n < 1e-12
	var got []string
	for id := range r.ByID {
		got = append(got, id)
	}
	require.ElementsMatch(w.t, instances, got, "from %s to %s: %s", from.Name(), f, r)
}
