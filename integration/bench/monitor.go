package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// The instances of one node that a load monitor looks after, each a process in a control group of its own.
const (
	monitored         = 200
	monitoredServices = 10
)

// measureMonitor looks at one load monitor in a process of its own: 200 instances, each checked by TCP every 2 s, measured
// every 5 s.
func measureMonitor(t *trial) {
	w := integration.NewWorld(t, integration.Options{Program: t.o.program, Etcd: t.o.etcd, AgentArgs: []string{"--loadmon=false"}})
	hire(t, w)
	beside := w.NewAgent("n1", w.Nodes[0])
	beside.Args = []string{"loadmon", "--node", "n1", "--etcd", w.Endpoint(), "--listen", "127.0.0.1:9649"}
	beside.Start()
	t.Cleanup(beside.Kill)
	t.pause(15 * time.Second) // the first searches for processes are behind it
	runtime.GC()
	begun := revisionOf(t, w)
	before, start := t.onCPU(beside.Pid()), time.Now()
	t.pause(pick(t, time.Minute, 15*time.Second))
	took := time.Since(start)
	share := 100 * (t.onCPU(beside.Pid()) - before).Seconds() / took.Seconds()
	now, peak := t.memory(beside.Pid())
	what := fmt.Sprintf("load monitor, %d instances, each checked every 2 s: ", monitored)
	t.report(Row{
		What: what + "processor", Value: fmt.Sprintf("%.1f %% of a core, over %.0f s", share, took.Seconds()), Numbers: map[string]float64{"percent": share},
	}.want("< 2 %", share < 2))
	t.report(memoryRow(what+"memory", now, peak).want("<= 60 MiB", now <= 60))
	written := max(0, revisionOf(t, w)-begun-applied(took)) // what the agent tells is not the monitor's
	t.report(Row{What: what + "revisions of etcd meanwhile", Value: strconv.FormatInt(written, 10), Numbers: map[string]float64{"revisions": float64(written)}}.want("0", written == 0))
}

// applied is how many reports of what it has applied one agent may write in a time: one each 30 s, give or take a fifth.
func applied(d time.Duration) int64 { return int64(d/(24*time.Second)) + 1 }

// hire starts the instances on the first node, and publishes them.
func hire(t *trial, w *integration.World) {
	node := w.Nodes[0]
	services := make([]*cluster.Service, monitoredServices)
	for i := range services {
		services[i] = serviceOf(i)
		services[i].Balance, services[i].Instances, services[i].Check = cluster.BalanceAdaptive, nil, &cluster.Check{TCP: &cluster.TCPCheck{}}
	}
	for i := range monitored {
		group, err := w.Lab.Cgroup(fmt.Sprintf("m%d", i), 1)
		t.must(err)
		address := netip.AddrPortFrom(node.Addr4, uint16(8000+i))
		_, err = lab.StartWorker(node.Namespace, lab.Work{ID: address.String(), Address: address, Group: group})
		t.must(err)
		s := services[i%monitoredServices]
		s.Instances = append(s.Instances, cluster.Instance{ID: address.String(), Addr: address.Addr(), Port: address.Port(), Weight: 1})
	}
	for _, s := range services {
		put(t, w, etcd.Key{Kind: etcd.KindService, Service: s.Name}, s)
	}
	put(t, w, etcd.Key{Kind: etcd.KindReady}, true)
}
