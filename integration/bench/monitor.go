package main

import (
	"fmt"
	"net/netip"
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

// watch is how the instances of a measurement are watched.
type watch struct {
	name  string
	check *cluster.Check
	port  int // of the first instance
}

const (
	workPort   = 8000
	healthPort = 9000
)

var watches = []watch{
	{"measured alone", nil, workPort},
	{"TCP check every 2 s", &cluster.Check{TCP: &cluster.TCPCheck{}}, workPort},
	{"HTTP check every 2 s", &cluster.Check{HTTP: &cluster.HTTPCheck{}}, healthPort},
	{"gRPC check every 2 s", &cluster.Check{GRPC: &cluster.GRPCCheck{}}, healthPort},
}

// measureMonitor looks at one load monitor in a process of its own: 200 instances, measured every 5 s, without a check and with
// each kind. With another program to compare with, the two take turns.
func measureMonitor(t *trial) {
	w := integration.NewWorld(t, integration.Options{Program: t.o.program, Etcd: t.o.etcd, AgentArgs: []string{"--loadmon=false"}})
	hire(t, w)
	for _, way := range watches {
		publishMonitored(t, w, way)
		what := fmt.Sprintf("load monitor, %d instances, %s: ", monitored, way.name)
		used := t.monitor(w, t.o.program)
		t.report(used.rows(what)...)
		if t.o.against == "" {
			continue
		}
		other := t.monitor(w, t.o.against)
		ratio := used.percent / other.percent
		t.report(Row{
			What: what + "by the other program", Value: fmt.Sprintf("%.2f x (that has %.2f %%, %.0f MiB)", ratio, other.percent, other.now),
			Numbers: map[string]float64{"ratio": ratio, "percent": other.percent, "rss_mib": other.now},
		})
	}
}

// monitorCost is what a load monitor used.
type monitorCost struct {
	percent   float64 // of a core
	over      time.Duration
	now, peak float64 // MiB
	written   int64   // revisions of etcd
}

// monitor runs one for a while.
func (t *trial) monitor(w *integration.World, program string) (c monitorCost) {
	a := w.NewAgent("n1", w.Nodes[0])
	a.Program = program
	a.Args = []string{"loadmon", "--node", "n1", "--etcd", w.Endpoint(), "--listen", "127.0.0.1:9649"}
	a.Start()
	defer a.Kill()
	t.pause(15 * time.Second) // the first searches for processes are behind it
	begun := revisionOf(t, w)
	before, start := t.onCPU(a.Pid()), time.Now()
	t.pause(pick(t, 45*time.Second, 15*time.Second))
	c.over = time.Since(start)
	c.percent = 100 * (t.onCPU(a.Pid()) - before).Seconds() / c.over.Seconds()
	c.now, c.peak = t.memory(a.Pid())
	c.written = max(0, revisionOf(t, w)-begun-applied(c.over)) // what the agent tells is not the monitor's
	return c
}

func (c monitorCost) rows(what string) []Row {
	return []Row{
		Row{
			What: what + "processor", Value: fmt.Sprintf("%.2f %% of a core, over %.0f s", c.percent, c.over.Seconds()), Numbers: map[string]float64{"percent": c.percent},
		}.want("< 2 %", c.percent < 2),
		memoryRow(what+"memory", c.now, c.peak).want("<= 60 MiB", c.now <= 60),
		Row{
			What: what + "revisions of etcd meanwhile", Value: strconv.FormatInt(c.written, 10), Numbers: map[string]float64{"revisions": float64(c.written)},
		}.want("0", c.written == 0),
	}
}

// applied is how many reports of what it has applied one agent may write in a time: one each 30 s, give or take a fifth.
func applied(d time.Duration) int64 { return int64(d/(24*time.Second)) + 1 }

// hire starts the instances.
func hire(t *trial, w *integration.World) {
	node := w.Nodes[0]
	for i := range monitored {
		group, err := w.Lab.Cgroup(fmt.Sprintf("m%d", i), 1)
		t.must(err)
		at := func(port int) netip.AddrPort { return netip.AddrPortFrom(node.Addr4, uint16(port+i)) }
		_, err = lab.StartWorker(node.Namespace, lab.Work{ID: at(workPort).String(), Address: at(workPort), Health: at(healthPort), Group: group})
		t.must(err)
	}
}

// publishMonitored has them watched in one way.
func publishMonitored(t *trial, w *integration.World, way watch) {
	services := make([]*cluster.Service, monitoredServices)
	for i := range services {
		services[i] = serviceOf(i)
		services[i].Balance, services[i].Instances, services[i].Check = cluster.BalanceAdaptive, nil, way.check
	}
	for i := range monitored {
		address := netip.AddrPortFrom(w.Nodes[0].Addr4, uint16(way.port+i))
		s := services[i%monitoredServices]
		s.Instances = append(s.Instances, cluster.Instance{ID: address.String(), Addr: address.Addr(), Port: address.Port(), Weight: 1})
	}
	for _, s := range services {
		put(t, w, etcd.Key{Kind: etcd.KindService, Service: s.Name}, s)
	}
	put(t, w, etcd.Key{Kind: etcd.KindReady}, true)
}
