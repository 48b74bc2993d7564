package chaos

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
)

// slowDisk has etcd stand still for 200 ms in each second, as a disk that is busy does.
func slowDisk(r *run) {
	const pulse, between = 200 * time.Millisecond, 800 * time.Millisecond
	m := r.members(1)
	w := r.world(integration.Options{Members: m, Nodes: 1})
	p, f := r.probe(w), w.Frontend(cluster.TCP, false)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			m.All[0].Freeze()
			<-time.After(pulse)
			m.All[0].Thaw()
			select {
			case <-stop:
				return
			case <-time.After(between):
			}
		}
	}()
	var took []time.Duration
	for began, i := time.Now(), 0; time.Since(began) < 15*time.Second; i++ {
		one := time.Now()
		w.Publish(integration.Service("written", f, p.addresses[i%3]))
		took = append(took, time.Since(one))
	}
	close(stop)
	<-stopped
	slices.Sort(took)
	r.figure("publishes", float64(len(took)))
	r.figure("publish_p99_ms", milliseconds(took[len(took)*99/100]))
	p.unharmed()
	require.Less(r, r.line.Figures["publish_p99_ms"], 2000.0)
}

// lossyPath loses every second packet of etcd's answers and delays all by 100 ms each way.
func lossyPath(r *run) {
	m := r.members(1)
	w := r.world(integration.Options{Members: m, Nodes: 1, Idle: true})
	proxy := r.network(w, m, func() (net.Conn, error) { return net.Dial("unix", m.All[0].Socket()) })
	a := w.Agents[0]
	reach(w, a, "--etcd", "http://"+etcdAddress+":2379", "--insecure-etcd")
	a.Start()
	w.AwaitAgents(1)
	p, f := r.probe(w), w.Frontend(cluster.TCP, false)
	proxy.Delay(100 * time.Millisecond)
	out, err := m.Host.Output("nft", "table inet loss { chain out { type filter hook output priority 0; oifname eth0 numgen random mod 100 < 50 drop; }; }")
	require.NoError(r, err, "%s", out)
	proxy.Cut()
	before, began := proxy.Accepted(), time.Now()
	for i := range 10 {
		one := time.Now()
		a.AwaitRevision(w.Write(integration.Service("written", f, p.addresses[i%3])), 40*time.Second)
		r.most("t_converge_s", seconds(one))
	}
	r.figure("connections_per_s", float64(proxy.Accepted()-before)/seconds(began))
	w.Only(w.Nodes[0], f, p.addresses[0])
	p.unharmed()
	require.Less(r, r.line.Figures["t_converge_s"], 45.0)
	require.Less(r, r.line.Figures["connections_per_s"], 2.0)
}

// quietWithoutEtcd looks at what an agent costs that cannot reach etcd: one that refuses, and one that says nothing.
func quietWithoutEtcd(r *run) {
	const window = 25 * time.Second
	m := r.members(1)
	w := r.world(integration.Options{Members: m, Nodes: 1})
	a := w.Agents[0]
	a.AwaitRevision(w.PutAll(integration.Many(1000, 5, 80)), 20*time.Second)
	for _, fault := range []struct {
		name       string
		begin, end func()
	}{{"frozen", m.All[0].Freeze, m.All[0].Thaw}, {"refused", m.All[0].Kill, m.All[0].Start}} {
		fault.begin()
		w.Eventually(15*time.Second, "the agent notices", func() bool {
			_, body := a.Get("/readyz")
			return strings.Contains(body, "the last rules are kept")
		})
		began, before := time.Now(), a.CPU()
		<-time.After(window)
		r.figure(fmt.Sprintf("cpu_%s_percent", fault.name), 100*(a.CPU()-before).Seconds()/seconds(began))
		fault.end()
		a.AwaitReady(20 * time.Second)
	}
	require.Less(r, r.line.Figures["cpu_frozen_percent"], 2.0)
	require.Less(r, r.line.Figures["cpu_refused_percent"], 2.0)
}
