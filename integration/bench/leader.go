package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/loadmon"
)

// The fleet that a leader looks after.
const (
	fleetNodes     = 300
	fleetServices  = 1000
	fleetInstances = 10 // of each service
)

// measureLeader looks at one control center process that leads 300 nodes, of which every load monitor answers by HTTP, and
// 1,000 adaptive services that are balanced well.
func measureLeader(t *trial) {
	w := integration.NewWorld(t, integration.Options{Program: t.o.program, Etcd: t.o.etcd, Idle: true})
	f := newFleet(t)
	f.publish(t, w)
	pid, pages := serveLeader(t, w)
	f.await(t, 5*fleetNodes) // it has begun, and made all connections
	endOfRound(t, pages)
	revision, asked := revisionOf(t, w), f.asked.Load()
	before, rounds, start := t.onCPU(pid), scrape(t, pages), time.Now()
	t.pause(pick(t, time.Minute, 15*time.Second))
	took := time.Since(start)
	share := 100 * (t.onCPU(pid) - before).Seconds() / took.Seconds()
	after := scrape(t, pages)
	n := after["weir_leader_round_seconds_count"] - rounds["weir_leader_round_seconds_count"]
	decided := after[`weir_leader_decisions_total{result="kept"}`] - rounds[`weir_leader_decisions_total{result="kept"}`]
	fetched := f.asked.Load() - asked
	written := revisionOf(t, w) - revision
	what := fmt.Sprintf("leader, %d nodes, %d adaptive services x %d: ", fleetNodes, fleetServices, fleetInstances)
	t.report(Row{
		What: what + "processor while nothing moves", Value: fmt.Sprintf("%.1f %% of a core, over %.0f s", share, took.Seconds()), Numbers: map[string]float64{"percent": share},
	}.want("< 10 %", share < 10))
	t.report(Row{
		What: what + "of that, answers fetched and decisions made", Value: fmt.Sprintf("%d and %.0f", fetched, decided),
		Numbers: map[string]float64{"answers": float64(fetched), "decisions": decided},
	}.want("all", float64(fetched) >= n*fleetNodes && decided >= n*fleetServices && n > 0))
	seconds := (after["weir_leader_round_seconds_sum"] - rounds["weir_leader_round_seconds_sum"]) / n
	t.report(Row{What: what + "one round", Value: fmt.Sprintf("%.0f ms", 1000*seconds), Numbers: map[string]float64{"round_ms": 1000 * seconds}})
	t.report(Row{What: what + "revisions of etcd meanwhile", Value: strconv.FormatInt(written, 10), Numbers: map[string]float64{"revisions": float64(written)}}.want("0", written == 0))
	now, peak := t.memory(pid)
	t.report(memoryRow(what+"memory", now, peak))
}

// fleet is all load monitors, each at a port of its own.
type fleet struct {
	began time.Time
	urls  []string
	asked atomic.Int64
}

func newFleet(t *trial) *fleet {
	f := &fleet{began: time.Now().Add(-time.Hour)}
	for i := range fleetNodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		t.must(err)
		server := &http.Server{Handler: f.monitor(i), ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
		f.urls = append(f.urls, "http://"+l.Addr().String())
	}
	return f
}

// monitor answers for one node: each instance is as busy as all others.
func (f *fleet) monitor(node int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		f.asked.Add(1)
		up := time.Since(f.began).Seconds()
		r := loadmon.Report{Node: nodeName(node), At: time.Now(), UptimeS: up}
		for i := node; i < fleetServices*fleetInstances; i += fleetNodes {
			r.Loads = append(r.Loads, equallyBusy(nameOf(i/fleetInstances), fleetInstance(i).ID, up))
		}
		_ = json.NewEncoder(w).Encode(r)
	})
}

// equallyBusy is what a monitor that has been up for some seconds says of any instance.
func equallyBusy(service, instance string, up float64) loadmon.Load {
	return loadmon.Load{
		Service: service, Instance: instance, Connections: uint64(20 * up), Active: 5, Busy: 0.4, LatencyMS: 3,
		CPUSeconds: up / 3, QuotaCPUs: 1, MemoryBytes: 200 << 20, MemoryLimitBytes: 1 << 30, OpenFiles: 100, OpenFilesLimit: 1024, BytesIn: 1 << 30, BytesOut: 1 << 33,
	}
}

func nodeName(i int) string { return fmt.Sprintf("node-%03d", i) }

func nodeAddress(i int) netip.Addr { return plus(instances, i%fleetNodes) }

// fleetInstance is the i-th of all; those of a service are on different nodes.
func fleetInstance(i int) cluster.Instance {
	address := netip.AddrPortFrom(nodeAddress(i), uint16(8000+i/fleetNodes))
	return cluster.Instance{ID: address.String(), Addr: address.Addr(), Port: address.Port(), Weight: 1}
}

func (f *fleet) publish(t *trial, w *integration.World) {
	put(t, w, etcd.Key{Kind: etcd.KindConfig}, &cluster.Config{VIPPools: []netip.Prefix{pool}})
	for i := range fleetNodes {
		put(t, w, etcd.Key{Kind: etcd.KindNode, Node: nodeName(i)}, &cluster.Node{Addresses: []netip.Addr{nodeAddress(i)}, Monitor: f.urls[i]})
		put(t, w, etcd.Key{Kind: etcd.KindAlive, Node: nodeName(i)}, etcd.Presence{Since: f.began})
	}
	for i := range fleetServices {
		s := serviceOf(i)
		s.Balance, s.Instances = cluster.BalanceAdaptive, nil
		for j := range fleetInstances {
			s.Instances = append(s.Instances, fleetInstance(i*fleetInstances+j))
		}
		put(t, w, etcd.Key{Kind: etcd.KindService, Service: s.Name}, s)
	}
	put(t, w, etcd.Key{Kind: etcd.KindReady}, true)
}

// await waits until monitors have been asked so often.
func (f *fleet) await(t *trial, times int64) {
	for late := time.Now().Add(2 * time.Minute); f.asked.Load() < times; t.pause(100 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("the leader has asked %d times in two minutes", f.asked.Load())
		}
	}
}

// serveLeader starts a control center and says where its pages are.
func serveLeader(t *trial, w *integration.World) (pid int, pages string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	t.must(err)
	pages = l.Addr().String()
	t.must(l.Close())
	c := exec.Command(t.o.program, "controlcenter", "serve", "--name", "bench", "--etcd", w.Endpoint(), "--listen", pages)
	log := &strings.Builder{}
	c.Stdout, c.Stderr = log, log
	t.must(c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%s", log)
		}
	})
	return c.Process.Pid, "http://" + pages
}

// endOfRound waits until one ends.
func endOfRound(t *trial, pages string) {
	rounds := func() float64 { return scrape(t, pages)["weir_leader_round_seconds_count"] }
	for now := rounds(); rounds() == now; {
		t.pause(10 * time.Millisecond)
	}
}

func revisionOf(t *trial, w *integration.World) int64 {
	client, err := w.Store.Client()
	t.must(err)
	r, err := client.Get(t.ctx, w.Store.Prefix()+"net/ready")
	t.must(err)
	return r.Header.Revision
}

// scrape reads the metrics by their names, labels included.
func scrape(t *trial, pages string) map[string]float64 {
	answer, err := http.Get(pages + "/metrics")
	t.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	t.must(err)
	out := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			out[name] = v
		}
	}
	return out
}
