package integration

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

var owners = []string{"auto", "off"}

// watch is a service under constant use from the first node and from the client: new connections, and two live ones.
type watch struct {
	w         *World
	instances []*lab.Instance
	probes    []*lab.Probe
	streams   []*lab.Stream
	f         cluster.Frontend
}

func (w *World) watch() *watch {
	w.t.Helper()
	o := &watch{w: w, f: w.Frontend(cluster.TCP, false)}
	var addresses []string
	for _, host := range w.Instances[:3] {
		address, i := w.Serve(host, 80, false)
		addresses, o.instances = append(addresses, address), append(o.instances, i)
	}
	w.Publish(Service("watched", o.f, addresses...))
	for _, from := range []*lab.Host{w.Nodes[0], w.Client} {
		load := Load(o.f, 0)
		load.Workers, load.Pause = 2, time.Millisecond
		p, err := lab.StartProbe(from.Namespace, load)
		require.NoError(w.t, err)
		s, err := lab.StartStream(from.Namespace, lab.StreamOptions{Frontend: Address(o.f)})
		require.NoError(w.t, err)
		o.probes, o.streams = append(o.probes, p), append(o.streams, s)
	}
	return o
}

func (o *watch) accepted() (n int) {
	for _, i := range o.instances {
		n += i.Accepted()
	}
	return n
}

// more waits until so many more connections were opened.
func (o *watch) more(n int) {
	o.w.t.Helper()
	start := o.accepted()
	o.w.Eventually(20*time.Second, fmt.Sprintf("%d more connections", n), func() bool { return o.accepted() >= start+n })
}

// stop ends the use and adds up what became of it.
func (o *watch) stop() (r lab.Result, broken []lab.StreamResult) {
	o.w.t.Helper()
	r.Failures = map[string]int{}
	for i, p := range o.probes {
		one, err := p.Stop()
		require.NoError(o.w.t, err)
		r.Connections, r.Failed, r.Latency = r.Connections+one.Connections, r.Failed+one.Failed, append(r.Latency, one.Latency...)
		for why, n := range one.Failures {
			r.Failures[why] += n
		}
		if s := o.streams[i].Stop(); s.Broken {
			broken = append(broken, s)
		}
	}
	return r, broken
}

// unharmed stops the use and requires that nothing failed.
func (o *watch) unharmed() {
	o.w.t.Helper()
	r, broken := o.stop()
	require.Zero(o.w.t, r.Failed, "%s", r)
	require.Empty(o.w.t, broken, "live connections broke")
}

// TestKillIdle kills an agent that has nothing to do. Traffic does not notice, and the next one has nothing to write.
func TestKillIdle(t *testing.T) {
	t.Parallel()
	for _, owner := range owners {
		t.Run(owner, func(t *testing.T) {
			t.Parallel()
			w := world(t, Options{Owner: owner})
			o, a := w.watch(), w.Agents[0]
			a.Kill()
			o.more(300)
			a.Start()
			a.AwaitReady(10 * time.Second)
			require.Zero(t, a.Metric("weir_agent_writes_total"))
			a.AwaitLog("written=0", 10*time.Second)
			o.more(100)
			o.unharmed()
		})
	}
}

// TestKillApplying kills an agent while it changes every slot of 5,000 services, at moments spread over the whole of
// that and a little more. A frontend is never without the slots that its entry chooses from, and the next agent completes.
func TestKillApplying(t *testing.T) {
	const services, rounds = 5000, 4
	for _, owner := range owners {
		t.Run(owner, func(t *testing.T) {
			// Under the race detector an apply takes ten times as long, and so does an etcd in this process.
			w := world(t, Options{Owner: owner, Program: plain, Etcd: "etcd"})
			o, a := w.watch(), w.Agents[0]
			revision := w.PutAll(Many(services, 2, 80))
			a.AwaitRevision(revision, time.Minute)
			a.Kill()
			// One undisturbed run tells how long it takes.
			revision = w.PutAll(Many(services, 2, 82))
			start := time.Now()
			a.Start()
			a.AwaitRevision(revision, time.Minute)
			whole, changed := time.Since(start), 0
			for round := range rounds {
				a.Kill()
				port := uint16(84 + 2*round)
				revision = w.PutAll(Many(services, 2+round%2, port)) // the size changes as well
				a.Start()
				<-time.After(whole * time.Duration(round+1) / (rounds - 1)) // the fault itself: no condition to wait for
				a.Kill()
				changed += w.Sound(w.Nodes[0], services+1, port)
				a.Start()
				a.AwaitRevision(revision, time.Minute)
				require.Equal(t, services, w.Sound(w.Nodes[0], services+1, port))
			}
			t.Logf("one apply from the start takes %s; %d of %d services had been changed at the %d kills", whole.Round(time.Millisecond), changed, services*rounds, rounds)
			o.unharmed()
		})
	}
}

// TestFlush has somebody else flush the whole ruleset, as the start of nftables.service does. Owned tables do not notice.
// Others are repaired; what was under way in between may be lost: without translation, an answer to a live connection
// is one to a connection that the client's kernel never opened, and is reset.
func TestFlush(t *testing.T) {
	const flushes = 20
	for _, owner := range owners {
		t.Run(owner, func(t *testing.T) {
			w := world(t, Options{Owner: owner})
			o, a := w.watch(), w.Agents[0]
			var slowest time.Duration
			for range flushes {
				before := a.Metric("weir_agent_repairs_total")
				w.NFT(w.Nodes[0], "flush ruleset")
				if owner == "off" {
					took := w.Eventually(time.Second+promised, "the rules are back", func() bool { return a.Metric("weir_agent_repairs_total") > before })
					slowest = max(slowest, took)
					w.Flood(w.Client, o.f, 20) // those in use may wait a second for their next SYN
					continue
				}
				o.more(20)
			}
			if owner == "auto" {
				o.unharmed()
				require.Zero(t, a.Metric("weir_agent_repairs_total"))
				return
			}
			a.AwaitLog("nft (pid ", 10*time.Second) // it names who it was
			r, broken := o.stop()
			late := 0
			for _, latency := range r.Latency {
				if latency > 900*time.Millisecond {
					late++
				}
			}
			t.Logf("%d flushes of unowned tables: repaired within %s, as seen from outside; of %d connections %d failed and %d needed a second SYN; of 2 live ones %d broke",
				flushes, slowest.Round(time.Millisecond), r.Connections, r.Failed, late, len(broken))
			w.Only(w.Nodes[0], o.f, o.instances[0].ID(), o.instances[1].ID(), o.instances[2].ID())
			w.Only(w.Client, o.f, o.instances[0].ID(), o.instances[1].ID(), o.instances[2].ID())
		})
	}
}

// TestSecondAgent starts another agent on a node that has one.
func TestSecondAgent(t *testing.T) {
	t.Parallel()
	w := world(t, Options{})
	second := w.NewAgent("other", w.Nodes[0])
	defer second.finish()
	second.Start()
	require.Equal(t, 4, second.AwaitEnd())
	require.Contains(t, second.Log(), "another weir agent runs in this network namespace: stop it first")
	w.Agents[0].AwaitReady(10 * time.Second)
}

// TestNoPermission runs an agent that may not change the network: it stays, says why, and what a former agent wrote goes
// on working. One that shall do a single pass ends instead.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Program: plain}) // processor time is measured
	a, f, instances := w.Agents[0], w.Frontend(cluster.TCP, false), w.ServeAll(3, false)
	w.Publish(Service("a", f, instances...))
	a.Stop()
	args := append([]string{"--bounding-set", "-net_admin", "--inh-caps", "-net_admin", w.o.Program}, a.Args...)
	once := w.Nodes[0].Command("setpriv", append(slices.Clone(args), "--once")...)
	var out output
	once.Stdout, once.Stderr = &out, &out
	require.Error(t, w.Nodes[0].Run(once))
	require.Equal(t, 1, once.ProcessState.ExitCode(), out.String())
	require.Contains(t, out.String(), "run as root or give the process CAP_NET_ADMIN")
	require.NotContains(t, out.String(), "goroutine")

	a.Program, a.Args = "setpriv", args
	a.Start()
	w.Eventually(5*time.Second, "it is not ready, and says why", func() bool {
		code, body := a.Get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, "CAP_NET_ADMIN")
	})
	used := a.CPU()
	<-time.After(3 * time.Second) // the time over which it is measured
	used = a.CPU() - used
	t.Logf("%s of processor time in 3 s", used)
	require.Less(t, used, 30*time.Millisecond)
	require.Equal(t, 1, strings.Count(a.Log(), "level=ERROR"))
	w.Only(w.Nodes[0], f, instances...)
	w.Only(w.Client, f, instances...)
	require.Zero(t, func() int { a.Stop(); return a.cmd.ProcessState.ExitCode() }(), a.Log())
}

// TestOnce brings a node up to date without staying, and prints what would change without doing it.
func TestOnce(t *testing.T) {
	t.Parallel()
	for _, owner := range owners {
		t.Run(owner, func(t *testing.T) {
			t.Parallel()
			w := world(t, Options{Idle: true, Owner: owner})
			a, f, instances := w.Agents[0], w.Frontend(cluster.TCP, false), w.ServeAll(3, false)
			run := func(flag string) string {
				a.Args = append(w.NewAgent("n1", w.Nodes[0]).Args, flag)
				a.Start()
				require.Zero(t, a.AwaitEnd(), a.Log())
				return a.Log()
			}
			w.Write(Service("a", f, instances[:2]...))
			require.Contains(t, run("--dry-run"), f.String()+" absent -> random 2: +"+instances[0]+" +"+instances[1])
			out, err := w.Nodes[0].Output("nft", "list", "ruleset")
			require.NoError(t, err)
			require.Empty(t, strings.TrimSpace(string(out)), "a dry run writes nothing")
			require.Empty(t, w.vipRoutes(w.Nodes[0]))

			run("--once")
			w.Only(w.Nodes[0], f, instances[:2]...)
			w.Only(w.Client, f, instances[:2]...)
			require.Contains(t, run("--dry-run"), "nothing would change")

			w.Write(Service("a", f, instances...))
			require.Contains(t, run("--dry-run"), f.String()+" random 2 -> random 3: +"+instances[2])
			w.Only(w.Client, f, instances[:2]...)
			run("--once")
			w.Only(w.Client, f, instances...)
		})
	}
}
