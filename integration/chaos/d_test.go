package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

var controlCases = map[string]func(*run){
	"D1":  leaderDies,
	"D2":  zombieLeader,
	"D3":  controlWithoutEtcd,
	"D4":  controlCutOff,
	"D5":  mostChecksFail,
	"D6":  flappingCheck,
	"D17": nodeAndLeaderDie,
	"D18": leaderDiesWhileScaling,
}

// checked is a service whose instances run on the nodes themselves, each with a page of its own that says whether it is
// well, and which is in use.
type checked struct {
	r         *run
	w         *integration.World
	front     cluster.Frontend
	instances []*checkedInstance
	probe     *lab.Probe
}

type checkedInstance struct {
	id   string
	sick atomic.Bool
}

// checked publishes n instances, one node after the other, and begins to use them from the client.
func (r *run) checked(w *integration.World, n int, check cluster.Check, edit ...func(*cluster.Service)) *checked {
	r.Helper()
	c := &checked{r: r, w: w, front: w.Frontend(cluster.TCP, false)}
	s := integration.Service("checked", c.front)
	s.Ports = []cluster.Port{{Name: "web", Port: c.front.Port, Protocol: cluster.TCP}, {Name: "health", Port: c.front.Port + 1, Protocol: cluster.TCP}}
	check.HTTP, check.Port = &cluster.HTTPCheck{}, "health"
	s.Check = &check
	for i := range n {
		host, web, health := w.Nodes[i%len(w.Nodes)], uint16(8000+i), uint16(9000+i)
		one := &checkedInstance{id: fmt.Sprintf("i%d", i+1)}
		w.Serve(host, web, false)
		r.page(host, netip.AddrPortFrom(host.Addr4, health), &one.sick)
		c.instances = append(c.instances, one)
		s.Instances = append(s.Instances, cluster.Instance{ID: one.id, Addr: host.Addr4, Ports: map[string]uint16{"web": web, "health": health}, Weight: 1})
	}
	for _, e := range edit {
		e(s)
	}
	w.Publish(s)
	load := integration.Load(c.front, 0)
	load.Workers, load.Pause = 2, 2*time.Millisecond
	var err error
	c.probe, err = lab.StartProbe(w.Client.Namespace, load)
	require.NoError(r, err)
	return c
}

// page answers 200, or 503 while sick.
func (r *run) page(host *lab.Host, at netip.AddrPort, sick *atomic.Bool) {
	r.Helper()
	ln, err := host.Listen("tcp", at.String())
	require.NoError(r, err)
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	go func() { _ = server.Serve(ln) }() // ends by Close
	r.Cleanup(func() { _ = server.Close() })
}

// pool is how many instances the first node's kernel sends connections to.
func (c *checked) pool() int { return len(c.w.Slots(c.w.Nodes[0])[c.front]) }

// least watches the pool for a while, and returns the smallest that it was.
func (c *checked) least(d time.Duration) int {
	least := c.pool()
	for begin := time.Now(); time.Since(begin) < d; time.Sleep(20 * time.Millisecond) {
		least = min(least, c.pool())
	}
	return least
}

// unharmed ends the use, and requires that no connection failed.
func (c *checked) unharmed() {
	c.r.Helper()
	got, err := c.probe.Stop()
	require.NoError(c.r, err)
	c.r.line.Conns, c.r.line.ConnFailed = got.Connections, got.Failed
	require.Zero(c.r, got.Failed, "connections failed: %s", got)
	require.NotZero(c.r, got.Connections)
}

// controlled is a world whose load monitors answer everybody in it, with control centers.
func (r *run) controlled(centers int) *integration.World {
	r.Helper()
	w := r.world(integration.Options{AgentArgs: integration.LoadsForAll})
	w.StartControlCenters(centers)
	return w
}

func leaderDies(r *run) {
	w := r.controlled(2)
	c := r.checked(w, 3, cluster.Check{})
	first := w.AwaitLeader(20 * time.Second)
	begin := time.Now()
	first.Kill()
	second := w.AwaitLeader(20 * time.Second)
	r.figure("t_takeover_s", time.Since(begin).Seconds())
	require.NotSame(r, first, second)
	require.Equal(r, 3, c.least(2*time.Second))
	c.unharmed()
	require.Less(r, r.line.Figures["t_takeover_s"], 9.0)
}

// zombieLeader first takes the lease of a leader that does not look, and has it write as fast as it can; then freezes one
// that is a process of its own.
func zombieLeader(r *run) {
	w := r.world(integration.Options{AgentArgs: integration.LoadsForAll})
	c := r.checked(w, 3, cluster.Check{})
	stale := r.staleWrites(w, 200)
	r.figure("stale_writes", float64(stale))

	w.StartControlCenters(2)
	zombie := w.AwaitLeader(20 * time.Second)
	zombie.Signal(syscall.SIGSTOP)
	var heir *integration.ControlCenter
	w.Eventually(20*time.Second, "the other leads", func() bool {
		for _, cc := range w.ControlCenters {
			if cc != zombie && cc.Leads() {
				heir = cc
			}
		}
		return heir != nil
	})
	zombie.Signal(syscall.SIGCONT)
	w.Eventually(5*time.Second, "it finds out", func() bool { return !zombie.Leads() })
	both := 0
	for begin := time.Now(); time.Since(begin) < 8*time.Second; time.Sleep(50 * time.Millisecond) {
		if zombie.Leads() {
			both++
		}
	}
	r.figure("both_lead", float64(both))
	require.True(r, heir.Leads())
	c.unharmed()
	require.Zero(r, stale, "writes of a leader whose lease was gone")
	require.Zero(r, both)
}

// staleWrites has a leader write n times after its lease was revoked, and counts what etcd took of it.
func (r *run) staleWrites(w *integration.World, n int) (taken int) {
	r.Helper()
	elected := make(chan *etcd.Leadership, 1)
	ctx, cancel := context.WithCancel(r.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- w.Store.Lead(ctx, etcd.Candidate{Name: "zombie"}, func(ctx context.Context, l *etcd.Leadership) error {
			select {
			case elected <- l:
			default: // a later term is none of ours
			}
			<-ctx.Done()
			return nil
		})
	}()
	defer func() {
		cancel()
		require.NoError(r, <-ended)
	}()
	leader := <-elected
	down := cluster.SetDown{Node: "nobody", Down: &cluster.Down{Reason: "by a leader"}}
	_, err := leader.Write(r.Context(), down)
	require.NoError(r, err, "while it leads")
	client, err := w.Store.Client()
	require.NoError(r, err)
	keys, err := client.Get(r.Context(), w.Store.Prefix()+"ops/leader/", clientv3.WithPrefix())
	require.NoError(r, err)
	require.Len(r, keys.Kvs, 1)
	_, err = client.Revoke(r.Context(), clientv3.LeaseID(keys.Kvs[0].Lease))
	require.NoError(r, err)
	for range n {
		if _, err := leader.Write(r.Context(), down); err == nil {
			taken++
		} else {
			require.ErrorIs(r, err, cluster.ErrNotLeading)
		}
	}
	return taken
}

// controlWithoutEtcd has the control center reach etcd by a way of its own, which falls silent.
func controlWithoutEtcd(r *run) {
	w := r.world(integration.Options{AgentArgs: integration.LoadsForAll})
	c := r.checked(w, 3, cluster.Check{})
	socket := filepath.Join(w.Dir, "cc.sock")
	l, err := net.Listen("unix", socket)
	require.NoError(r, err)
	way := lab.StartProxy(l, func() (net.Conn, error) { return net.Dial("unix", strings.TrimPrefix(w.Endpoint(), "unix://")) })
	r.Cleanup(func() { _ = way.Close() })
	cc := w.NewControlCenter("cc1", w.Client)
	cc.Args[slices.Index(cc.Args, w.Endpoint())] = "unix://" + socket
	r.join(w, cc)
	time.Sleep(14 * time.Second) // from here on it may conclude something
	way.Freeze(true)
	begin := time.Now()
	_, err = c.probe.Stop()
	require.NoError(r, err)
	r.cable(w.Agents[2].Host, "down")
	w.Agents[2].Stop()
	r.figure("t_stops_s", w.Eventually(12*time.Second, "it says that it does not lead", func() bool { return !cc.Leads() }).Seconds())
	w.Eventually(8*time.Second, "it is not ready", func() bool {
		code, _ := cc.Get("/readyz")
		return code == http.StatusServiceUnavailable
	})
	actions := 3 - c.least(15*time.Second-time.Since(begin))
	r.figure("actions", float64(actions))
	way.Freeze(false)
	way.Cut()
	w.AwaitLeader(20 * time.Second)
	w.Eventually(25*time.Second, "it decides again", func() bool { return c.pool() == 2 })
	require.Zero(r, actions)
	require.Less(r, r.line.Figures["t_stops_s"], 7.0)
}

// join starts a control center of the world's, and waits until one leads.
func (r *run) join(w *integration.World, cc *integration.ControlCenter) {
	r.Helper()
	w.ControlCenters = append(w.ControlCenters, cc)
	cc.Start()
	r.Cleanup(func() {
		if !cc.Ended() {
			cc.Kill()
		}
	})
	w.AwaitLeader(20 * time.Second)
}

// controlCutOff runs the control center on a host of its own, whose cable is pulled.
func controlCutOff(r *run) {
	w := r.world(integration.Options{AgentArgs: integration.LoadsForAll})
	c := r.checked(w, 3, cluster.Check{})
	host := w.Instances[3]
	cc := w.NewControlCenter("cc1", host)
	r.join(w, cc)
	r.cable(host, "down")
	w.Agents[2].Stop()
	least := c.least(25 * time.Second) // the leader watches for 13 s first
	r.figure("removed", float64(3-least))
	said, _ := r.weir(w, "get", "nodes")
	require.Contains(r, said, "could not be asked", "the operator is told")
	r.cable(host, "up")
	r.repaired(w.Eventually(20*time.Second, "it is found to serve", func() bool {
		gone, err := w.Store.Gone(r.Context())
		require.NoError(r, err)
		return gone["n3"].State == cluster.Unwatched
	}))
	require.Equal(r, 3, c.least(time.Second))
	c.unharmed()
	require.Equal(r, 3, least, "instances were removed on no evidence")
}

// mostChecksFail watches what the first node's kernel uses from before the first check fails on, with a leader that might eject.
func mostChecksFail(r *run) {
	w := r.controlled(1)
	c := r.checked(w, 5, cluster.Check{Interval: cluster.Duration(500 * time.Millisecond)}, func(s *cluster.Service) { s.Balance = cluster.BalanceAdaptive })
	w.AwaitLeader(20 * time.Second)
	require.Equal(r, 5, c.pool())
	begin := time.Now()
	for _, i := range c.instances[:3] {
		i.sick.Store(true)
	}
	least := c.least(15 * time.Second)
	r.figure("pool_min", float64(least))
	panicking := func() (n int, last time.Time) {
		var rows []struct {
			State cluster.Status
			Since time.Time
		}
		said, _ := r.weir(w, "get", "instances", "checked", "-o", "json")
		require.NoError(r, json.Unmarshal([]byte(said[strings.Index("\n"+said, "\n["):]), &rows), said) // warnings come before
		for _, row := range rows {
			if row.State == cluster.Panic {
				n++
			}
			if row.Since.After(last) {
				last = row.Since
			}
		}
		return n, last
	}
	n, last := panicking()
	r.figure("panicking", float64(n))
	r.detected(last.Sub(begin))
	said, _ := r.weir(w, "get", "services", "checked", "-o", "json")
	require.Contains(r, said, "3 of 5 instances that are alive fail their checks at once")
	for _, i := range c.instances {
		i.sick.Store(false)
	}
	w.Eventually(30*time.Second, "all are well", func() bool { n, _ := panicking(); return n == 0 })
	c.unharmed()
	require.Equal(r, 3, n)
	require.Equal(r, 5, least, "instances were removed")
}

func flappingCheck(r *run) {
	w := r.world(integration.Options{AgentArgs: integration.LoadsForAll})
	c := r.checked(w, 3, cluster.Check{Interval: cluster.MinInterval, Rise: 1, Fall: 1})
	client, err := w.Store.Client()
	require.NoError(r, err)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	changes := client.Watch(ctx, w.Store.Prefix()+"net/health/n1")
	n := 0
	flip := time.NewTicker(time.Second)
	defer flip.Stop()
	for end := time.After(time.Minute); end != nil; {
		select {
		case <-flip.C:
			c.instances[0].sick.Store(!c.instances[0].sick.Load())
		case got := <-changes:
			n += len(got.Events)
		case <-end:
			end = nil
		}
	}
	r.figure("changes", float64(n))
	c.instances[0].sick.Store(false)
	c.unharmed()
	require.Positive(r, n, "it was never out")
	require.LessOrEqual(r, n, 14)
}

func nodeAndLeaderDie(r *run) {
	w := r.controlled(2)
	c := r.checked(w, 3, cluster.Check{})
	leader, node := w.AwaitLeader(20*time.Second), w.Agents[2]
	begin := time.Now()
	leader.Kill()
	r.cable(node.Host, "down")
	node.Kill()
	w.Eventually(60*time.Second, "its instance is out", func() bool { return c.pool() == 2 })
	r.figure("t_out_s", time.Since(begin).Seconds())
	_, err := c.probe.Stop() // what failed until then went to the node that was dead
	require.NoError(r, err)
	w.Flood(w.Client, c.front, 300)
	r.cable(node.Host, "up")
	node.Start()
	r.figure("t_in_s", w.Eventually(20*time.Second, "it is in again", func() bool { return c.pool() == 3 }).Seconds())
	got := w.Flood(w.Client, c.front, 300)
	require.Len(r, got.ByID, 3)
	r.line.Conns = 600
	require.Less(r, r.line.Figures["t_out_s"], 27.0)
	require.Less(r, r.line.Figures["t_in_s"], 5.0)
}

// cable plugs a host in, or pulls its cable.
func (r *run) cable(host *lab.Host, state string) {
	r.Helper()
	out, err := host.Output("ip", "link", "set", "eth0", state)
	require.NoError(r, err, string(out))
}
