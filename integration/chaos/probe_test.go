package chaos

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

const (
	liveFlows = 50
	flowPort  = 4242 // the source port of the UDP flow
)

// probe is a service in constant use through the first node, half of it from the node and half from the client: four
// workers that open connections, fifty long-lived flows, and one UDP flow that keeps its source port.
type probe struct {
	r         *run
	w         *integration.World
	tcp, udp  cluster.Frontend
	addresses []string // of its instances
	instances []*lab.Instance
	probes    []*lab.Probe
	streams   []*lab.Stream
	datagrams *lab.Datagrams
	quieted   bool
	stopped   bool
	result    lab.Result
}

// probe publishes a service of three instances and begins to use it.
func (r *run) probe(w *integration.World) *probe {
	r.Helper()
	p := &probe{r: r, w: w, tcp: w.Frontend(cluster.TCP, false)}
	p.udp = p.tcp
	p.udp.Proto = cluster.UDP
	for _, host := range w.Instances[:3] {
		address, i := w.Serve(host, 80, false)
		p.addresses, p.instances = append(p.addresses, address), append(p.instances, i)
	}
	w.Publish(p.service(p.addresses...), integration.Service("probed-udp", p.udp, p.addresses...))
	for _, from := range []*lab.Host{w.Nodes[0], w.Client} {
		load := integration.Load(p.tcp, 0)
		load.Workers, load.Pause = 2, 2*time.Millisecond
		one, err := lab.StartProbe(from.Namespace, load)
		require.NoError(r, err)
		p.probes = append(p.probes, one)
		for range liveFlows / 2 {
			s, err := lab.StartStream(from.Namespace, lab.StreamOptions{Frontend: integration.Address(p.tcp), Interval: 50 * time.Millisecond})
			require.NoError(r, err)
			p.streams = append(p.streams, s)
		}
	}
	var err error
	p.datagrams, err = lab.StartDatagrams(w.Client.Namespace, lab.DatagramOptions{Frontend: integration.Address(p.udp), Port: flowPort, Interval: 10 * time.Millisecond})
	require.NoError(r, err)
	w.Eventually(5*time.Second, "the UDP flow is answered", func() bool { return p.datagrams.Snapshot().Answered > 0 })
	p.datagrams.Forget()
	return p
}

// service is the probed one, with other instances.
func (p *probe) service(instances ...string) *cluster.Service {
	return integration.Service("probed", p.tcp, instances...)
}

// accepted counts the connections that the instances have taken.
func (p *probe) accepted() (n int) {
	for _, i := range p.instances {
		n += i.Accepted()
	}
	return n
}

// more waits until so many more connections were opened.
func (p *probe) more(n int) {
	p.r.Helper()
	start := p.accepted()
	p.w.Eventually(30*time.Second, fmt.Sprintf("%d more connections", n), func() bool { return p.accepted() >= start+n })
}

// quiet ends the opening of connections; the live ones and the UDP flow go on.
func (p *probe) quiet() {
	p.r.Helper()
	if p.quieted {
		return
	}
	p.quieted = true
	p.result.Failures = map[string]int{}
	for _, one := range p.probes {
		got, err := one.Stop()
		require.NoError(p.r, err)
		p.result.Connections, p.result.Failed = p.result.Connections+got.Connections, p.result.Failed+got.Failed
		for why, n := range got.Failures {
			p.result.Failures[why] += n
		}
	}
}

// stop ends the use and notes what became of it.
func (p *probe) stop() {
	p.r.Helper()
	p.quiet()
	if p.stopped {
		return
	}
	p.stopped = true
	var broken atomic.Int64
	var ending sync.WaitGroup
	for _, s := range p.streams { // at once: one that stands still takes seconds to be given up
		ending.Go(func() {
			if s.Stop().Broken {
				broken.Add(1)
			}
		})
	}
	ending.Wait()
	p.r.line.LiveBroken += int(broken.Load())
	p.r.line.Conns, p.r.line.ConnFailed = p.result.Connections, p.result.Failed
	p.r.figure("udp_gap_ms", milliseconds(p.datagrams.Stop().LongestQuiet))
}

// unharmed stops the use and requires that nothing failed: no new connection, none of the live ones, and no datagram for
// longer than a busy machine explains.
func (p *probe) unharmed() {
	p.r.Helper()
	p.stop()
	require.Zero(p.r, p.result.Failed, "connections failed: %s", p.result)
	require.Zero(p.r, p.r.line.LiveBroken, "live connections broke")
	require.Less(p.r, p.r.line.Figures["udp_gap_ms"], 1000.0, "the UDP flow stood still")
}
