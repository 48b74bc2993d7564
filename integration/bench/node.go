package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
)

// measureNode looks at one agent process with 10,000 services: its memory, its start on a kernel that holds them all
// already, and what it costs while nothing happens.
func measureNode(t *trial) {
	w := newCluster(t, 1, 10_000)
	agent := w.Agents[0]
	runtime.GC()
	profile(t, agent, "node-heap-early", "heap")
	t.pause(12 * time.Second) // it writes its snapshot file at the start, and ten seconds later if it has changed
	now, peak := t.memory(agent.Pid())
	t.report(memoryRow("agent, 10000 services: memory after the start", now, peak).want("<= 120 MiB", now <= 120))
	t.report(idleRow(t, w, pick(t, 30*time.Second, 8*time.Second)))
	t.report(restartRows(t, agent, pick(t, 7, 3))...)
	go profile(t, agent, "node-cpu", "profile?seconds=3")
	before, start := t.onCPU(agent.Pid()), time.Now()
	storm(t, w, 0, pick(t, 10*time.Second, 4*time.Second))
	share := 100 * (t.onCPU(agent.Pid()) - before).Seconds() / time.Since(start).Seconds()
	t.report(Row{
		What: fmt.Sprintf("agent, 10000 services: processor at %d changes/s", stormRate), Value: fmt.Sprintf("%.0f %% of a core", share),
		Numbers: map[string]float64{"percent": share},
	})
	t.pause(2 * time.Second)
	profile(t, agent, "node-heap", "heap")
	now, peak = t.memory(agent.Pid())
	t.report(memoryRow("agent, 10000 services: memory after a storm of changes", now, peak))
}

func memoryRow(what string, now, peak float64) Row {
	return Row{What: what, Value: fmt.Sprintf("%.0f MiB, at most %.0f", now, peak), Numbers: map[string]float64{"rss_mib": now, "peak_mib": peak}}
}

// newCluster is a cluster of agents that hold n services.
func newCluster(t *trial, nodes, n int) *integration.World {
	o := integration.Options{Program: t.o.program, Nodes: nodes, Etcd: t.o.etcd, Idle: true}
	if t.o.profile != "" {
		o.AgentArgs = []string{"--pprof"}
	}
	w := integration.NewWorld(t, o)
	publish(t, w, n)
	for _, agent := range w.Agents {
		agent.Start()
	}
	for _, agent := range w.Agents {
		agent.AwaitReady(time.Minute)
	}
	return w
}

// publish writes services as a publish would, without its reservations, which agents do not read.
func publish(t *trial, w *integration.World, n int) {
	put(t, w, etcd.Key{Kind: etcd.KindConfig}, &cluster.Config{VIPPools: []netip.Prefix{pool}})
	var writers errgroup.Group
	writers.SetLimit(64)
	for i := range n {
		writers.Go(func() error { return tryPut(t, w, etcd.Key{Kind: etcd.KindService, Service: nameOf(i)}, serviceOf(i)) })
	}
	t.must(writers.Wait())
	put(t, w, etcd.Key{Kind: etcd.KindReady}, true)
}

func put(t *trial, w *integration.World, key etcd.Key, value any) { t.must(tryPut(t, w, key, value)) }

func tryPut(t *trial, w *integration.World, key etcd.Key, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	client, err := w.Store.Client()
	if err != nil {
		return err
	}
	_, err = client.Put(t.ctx, w.Store.Prefix()+key.String(), string(text))
	return err
}

func idleRow(t *trial, w *integration.World, during time.Duration) Row {
	pid := w.Agents[0].Pid()
	before, start := t.onCPU(pid), time.Now()
	t.pause(during)
	share := 100 * (t.onCPU(pid) - before).Seconds() / time.Since(start).Seconds()
	row := Row{
		What: "agent, 10000 services: processor while nothing happens", Value: fmt.Sprintf("%.2f %% of a core, over %.0f s", share, during.Seconds()),
		Numbers: map[string]float64{"percent": share},
	}
	return row.want("< 0.5 %", share < 0.5)
}

// restartRows kills the agent and starts it again, on the kernel that it left.
func restartRows(t *trial, agent *integration.Agent, times int) []Row {
	var took []time.Duration
	writes := 0.0
	for range times {
		agent.Kill()
		start := time.Now()
		agent.Start()
		agent.AwaitReady(time.Minute)
		took = append(took, time.Since(start))
		writes += agent.Metric("weir_agent_writes_total") + agent.Metric("weir_agent_repairs_total")
		t.pause(2 * time.Second)
	}
	return []Row{
		median("agent, 10000 services: killed, started, ready", took),
		Row{
			What: "agent, 10000 services: writes at such a start", Value: fmt.Sprintf("%.0f in %d starts", writes, times),
			Numbers: map[string]float64{"writes": writes},
		}.want("0", writes == 0),
	}
}

// storm replaces instances of many services, 500 a second, without looking.
func storm(t *trial, w *integration.World, from int, during time.Duration) {
	var writers sync.WaitGroup
	every := time.NewTicker(time.Second / stormRate)
	defer every.Stop()
	for n := range int(during.Seconds() * stormRate) {
		<-every.C
		writers.Go(func() {
			key, s := replacement(from + n)
			_ = tryPut(t, w, key, s)
		})
	}
	writers.Wait()
	t.must(nil)
}

const stormRate = 500

// profile keeps a profile of an agent, if any are wanted.
func profile(t *trial, agent *integration.Agent, name, page string) {
	if t.o.profile == "" {
		return
	}
	if code, body := agent.Get("/debug/pprof/" + page); code == http.StatusOK {
		_ = os.WriteFile(filepath.Join(t.o.profile, name+".pprof"), []byte(body), 0o600)
	}
}
