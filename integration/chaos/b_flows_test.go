package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// lastService withdraws all services. The live connections live on.
func lastService(r *run) {
	w := r.world(integration.Options{})
	p := r.probe(w)
	p.more(100)
	p.quiet()
	w.Withdraw("probed")
	w.Withdraw("probed-udp")
	before := map[*lab.Stream]int{}
	for _, s := range p.streams {
		before[s] = s.Snapshot().Answered
	}
	for s, answered := range before {
		w.Eventually(10*time.Second, "a connection goes on", func() bool {
			now := s.Snapshot()
			return now.Broken || now.Answered > answered+40
		})
	}
	p.stop()
	require.Zero(r, r.line.LiveBroken)
	require.Zero(r, p.result.Failed, "%s", p.result)
}

// trackingMax is the machine's, for all namespaces.
const trackingMax = "/proc/sys/net/netfilter/nf_conntrack_max"

// trackingFull fills the node's table of tracked connections, first to where doctor warns, then to the brim.
func trackingFull(r *run) {
	w := r.world(integration.Options{Nodes: 1})
	p, node := r.probe(w), w.Nodes[0]
	p.quiet()
	for range 150 {
		s, err := lab.StartStream(w.Client.Namespace, lab.StreamOptions{Frontend: integration.Address(p.tcp), Interval: 200 * time.Millisecond})
		require.NoError(r, err)
		p.streams = append(p.streams, s)
	}
	before, err := os.ReadFile(trackingMax)
	require.NoError(r, err)
	restore := func() { require.NoError(r, os.WriteFile(trackingMax, before, 0)) }
	r.Cleanup(restore)
	entries := func() int {
		out, err := node.Output("conntrack", "-C")
		require.NoError(r, err)
		n, err := strconv.Atoi(strings.TrimSpace(string(out)))
		require.NoError(r, err)
		return n
	}
	limit := func(n int) { require.NoError(r, os.WriteFile(trackingMax, []byte(strconv.Itoa(n)), 0)) }
	limit(entries() * 10 / 9)
	require.Contains(r, r.doctor(w, node), "conntrack", "doctor does not warn at 90 %")
	r.figure("warned_at_percent", 90)
	limit(100) // live connections alone are more, and those the kernel never drops to make room
	load := integration.Load(p.tcp, 8)
	load.Timeout = 300 * time.Millisecond
	got, err := lab.Flood(r.Context(), w.Client.Namespace, load)
	require.NoError(r, err)
	r.figure("dropped_of_8_while_full", float64(got.Failed))
	restore()
	w.Only(w.Client, p.tcp, p.addresses...)
	p.stop()
	require.Zero(r, r.line.LiveBroken)
	require.Positive(r, got.Failed, "the table was not full")
}

// doctor is what weir agent doctor finds wrong on a node.
func (r *run) doctor(w *integration.World, node *lab.Host) map[string]string {
	r.Helper()
	cmd := node.Command(program, "agent", "doctor", "-o", "json", "--node", "n1", "--etcd", w.Endpoint(), "--state-dir", w.Agents[0].StateDir)
	var out strings.Builder
	cmd.Stdout = &out
	require.NoError(r, node.Run(cmd))
	var report struct {
		Findings []struct{ Check, Severity, Seen string }
	}
	require.NoError(r, json.Unmarshal([]byte(out.String()), &report), out.String())
	found := map[string]string{}
	for _, f := range report.Findings {
		if f.Severity != "ok" {
			found[f.Check] += f.Severity + ": " + f.Seen + "\n"
		}
	}
	return found
}

// answeredBy waits until the UDP flow is answered by somebody in particular.
func (p *probe) answeredBy(within time.Duration, id string) time.Duration {
	p.r.Helper()
	since := time.Now()
	return p.w.Eventually(within, "the UDP flow is answered by "+id, func() bool {
		s := p.datagrams.Snapshot()
		return s.Last == id && s.At.After(since)
	})
}

// datagramsMove removes the instance that a UDP flow is on. The flow keeps its source port, so the kernel would hold it
// there for as long as it sends.
func datagramsMove(r *run) {
	w := r.world(integration.Options{})
	p := r.probe(w)
	for range 5 {
		on := p.datagrams.Snapshot().Last
		var others []string
		for _, address := range p.addresses {
			if address != on {
				others = append(others, address)
			}
		}
		began := time.Now()
		w.Write(integration.Service("probed-udp", p.udp, others...))
		r.repaired(w.Eventually(5*time.Second, "the UDP flow moves", func() bool {
			s := p.datagrams.Snapshot()
			return s.Last != on && s.At.After(began)
		}))
		w.Publish(integration.Service("probed-udp", p.udp, p.addresses...))
	}
	p.unharmed()
	require.Less(r, r.line.Repair, 1000.0)
}

// datagramsReturn scales the service that a UDP flow is on to zero, and back.
func datagramsReturn(r *run) {
	w := r.world(integration.Options{})
	p := r.probe(w)
	for _, address := range append(p.addresses, p.addresses[0]) {
		w.Publish(integration.Service("probed-udp", p.udp))
		w.Eventually(2*time.Second, "nobody answers", func() bool { return time.Since(p.datagrams.Snapshot().At) > 200*time.Millisecond })
		w.Write(integration.Service("probed-udp", p.udp, address))
		r.repaired(p.answeredBy(5*time.Second, address))
	}
	p.stop()
	require.Zero(r, p.result.Failed, "%s", p.result)
	require.Less(r, r.line.Repair, 1000.0)
}

// drained takes an instance out of service: it keeps the connections that it has and gets no new ones.
func drained(r *run) {
	w := r.world(integration.Options{})
	p := r.probe(w)
	on := 0
	for _, s := range p.streams {
		if s.ID() == p.addresses[0] {
			on++
		}
	}
	r.figure("live_on_drained", float64(on))
	require.Positive(r, on)
	w.Drain("probed", p.addresses[0], true)
	before := p.instances[0].Accepted()
	p.more(500)
	fresh := p.instances[0].Accepted() - before
	r.figure("new_to_drained", float64(fresh))
	<-time.After(2 * time.Second) // for whoever looks after connections to have looked
	p.unharmed()
	// A connection that was chosen before the change may be counted after it: its SYN was under way.
	require.LessOrEqual(r, fresh, 4, "new connections to the drained instance")
	w.Only(w.Client, p.tcp, p.addresses[1:]...)
}

// manyInstances is a node with very many instances, and one change.
func manyInstances(r *run) {
	const services, each, changes = 10000, 10, 20
	w := r.world(integration.Options{Nodes: 1})
	p, a := r.probe(w), w.Agents[0]
	many := integration.Many(services, each, 80)
	began := time.Now()
	revision := w.PutAll(many)
	a.AwaitRevision(revision, time.Minute)
	r.figure("full_apply_s", time.Since(began).Seconds())
	r.figure("rss_mib", a.Metric("process_resident_memory_bytes")/(1<<20))
	var slowest time.Duration
	before := a.Metric("weir_agent_writes_total")
	for n := range changes {
		one := *many[n*100]
		one.Instances = integration.Service("", one.Frontends()[0], ip(192, 168, 200, n)+":80").Instances
		one.Instances = append(one.Instances, many[n*100].Instances[1:]...)
		began := time.Now()
		revision := w.PutAll([]*cluster.Service{&one})
		w.Eventually(5*time.Second, "the change is applied", func() bool { return a.Metric("weir_agent_revision") >= float64(revision) })
		slowest = max(slowest, time.Since(began))
	}
	r.figure("slowest_change_ms", milliseconds(slowest))
	r.figure("writes_a_change", (a.Metric("weir_agent_writes_total")-before)/changes)
	p.unharmed()
	require.LessOrEqual(r, r.line.Figures["writes_a_change"], 2.0)
	require.Less(r, slowest, 500*time.Millisecond)
}

func ip(a, b, c, d int) string { return fmt.Sprintf("%d.%d.%d.%d", a, b, c, d) }
