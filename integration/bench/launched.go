package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/keep"
	"github.com/weir-lb/weir/launcher/launchertest"
	"github.com/weir-lb/weir/loadmon"
)

// What a leader launches in measureLaunched.
const (
	launchedNodes    = 3
	launchedServices = 50
	launchedEach     = 10 // instances of each service
)

// measureLaunched looks at one control center process that keeps 500 instances on three nodes: their numbers follow the open
// connections, their weights the load. Launchers are the real ones with a driver that starts nothing, and agents and load
// monitors say what real ones would; they are all in this process, so that what the leader's process uses is its own.
func measureLaunched(t *trial) {
	w := integration.NewWorld(t, integration.Options{Program: t.o.program, Etcd: t.o.etcd, Idle: true})
	put(t, w, etcd.Key{Kind: etcd.KindConfig}, &cluster.Config{VIPPools: []netip.Prefix{pool}})
	for i := range launchedNodes {
		startFakeNode(t, w, i)
	}
	pid, pages := serveLeader(t, w)
	w.Eventually(time.Minute, "the control center answers", func() bool {
		answer, err := http.Get(pages + "/livez")
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil
	})
	endOfRound(t, pages)
	begun, before := time.Now(), t.onCPU(pid)
	for i := range launchedServices {
		s := serviceOf(i)
		s.Balance, s.Instances, s.Run = cluster.BalanceAdaptive, nil, &cluster.Run{Command: []string{"/bin/any"}}
		s.Scale = &cluster.Scale{Min: launchedEach, Max: 2 * launchedEach, Metrics: []cluster.ScaleMetric{{Metric: "connections", Target: 100}}}
		put(t, w, etcd.Key{Kind: etcd.KindService, Service: s.Name}, s)
	}
	put(t, w, etcd.Key{Kind: etcd.KindReady}, true)
	const all = launchedServices * launchedEach
	w.Eventually(5*time.Minute, fmt.Sprintf("%d instances are ready", all), func() bool {
		t.pause(200 * time.Millisecond)
		return ready(t, w) == all
	})
	took := time.Since(begun)
	what := fmt.Sprintf("leader, %d launched instances of %d services on %d nodes: ", all, launchedServices, launchedNodes)
	t.report(Row{
		What: what + "from the first file to all of them ready", Value: fmt.Sprintf("%.1f s, in which it used %.1f s of a core", took.Seconds(), (t.onCPU(pid) - before).Seconds()),
		Numbers: map[string]float64{"took_s": took.Seconds(), "cpu_s": (t.onCPU(pid) - before).Seconds()},
	})
	t.pause(45 * time.Second) // figures are known, and new instances have their whole weight
	revision, start := revisionOf(t, w), time.Now()
	before = t.onCPU(pid)
	t.pause(pick(t, time.Minute, 20*time.Second))
	share := 100 * (t.onCPU(pid) - before).Seconds() / time.Since(start).Seconds()
	t.report(Row{
		What: what + "processor while nothing moves", Value: fmt.Sprintf("%.1f %% of a core, over %.0f s", share, time.Since(start).Seconds()), Numbers: map[string]float64{"percent": share},
	}.want("< 5 %", share < 5))
	written := revisionOf(t, w) - revision
	t.report(Row{What: what + "revisions of etcd meanwhile", Value: fmt.Sprint(written), Numbers: map[string]float64{"revisions": float64(written)}})
	now, peak := t.memory(pid)
	t.report(memoryRow(what+"memory", now, peak))
}

// ready is how many instances take new connections.
func ready(t *trial, w *integration.World) (n int) {
	s, err := w.Store.Snapshot(t.ctx)
	t.must(err)
	for _, in := range s.Services.All() {
		for _, i := range cluster.Resolve(in).Instances {
			if i.Takes() {
				n++
			}
		}
	}
	return n
}

// fakeNode is a load monitor that finds each instance equally busy.
type fakeNode struct {
	name   string
	began  time.Time
	driver launchertest.Idle
}

func startFakeNode(t *trial, w *integration.World, i int) {
	n := &fakeNode{name: nodeName(i), began: time.Now().Add(-time.Hour)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	t.must(err)
	server := &http.Server{Handler: http.HandlerFunc(n.loads), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	store, err := etcd.Open(t.ctx, etcd.Config{Endpoints: []string{w.Endpoint()}})
	t.must(err)
	t.Cleanup(func() { _ = store.Close() })
	t.must(store.Join(t.ctx, n.name, &cluster.Node{Addresses: []netip.Addr{nodeAddress(i)}, Monitor: "http://" + l.Addr().String()}))
	k, err := keep.New(keep.Config{
		Node: n.name, Store: store, Drivers: map[string]launcher.Driver{cluster.DriverProcess: &n.driver},
		Self:  cluster.Launcher{Drivers: []string{cluster.DriverProcess}, Ports: cluster.PortRange{From: 20000, To: 29999}, Address: nodeAddress(i)},
		Probe: func(context.Context, *cluster.Check, netip.AddrPort) error { return nil },
	})
	t.must(err)
	t.during(k.Run)
	t.during(func(ctx context.Context) error { return store.Alive(ctx, n.name) })
	t.during(func(ctx context.Context) error { return acknowledge(ctx, store, n.name) })
}

// acknowledge says what an agent says: that it has applied what it is asked for.
func acknowledge(ctx context.Context, store *etcd.Store, node string) error {
	asked := int64(0)
	return store.Watch(ctx, etcd.WatchOptions{}, func(s *cluster.Snapshot) {
		if s.Barrier > asked {
			asked = s.Barrier
			_ = store.Applied(ctx, node, cluster.Applied{Revision: s.Revision, FlowsRevision: s.Revision}) // asked for again
		}
	})
}

func (n *fakeNode) loads(w http.ResponseWriter, _ *http.Request) {
	up := time.Since(n.began).Seconds()
	r := loadmon.Report{Node: n.name, At: time.Now(), UptimeS: up}
	all, _ := n.driver.List(context.Background())
	for _, s := range all {
		r.Loads = append(r.Loads, equallyBusy(s.Service, s.ID, up))
	}
	_ = json.NewEncoder(w).Encode(r)
}
