package integration

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/loadmon/monitor"
)

const monitorToken = "0123456789abcdef0123456789abcdef"

// monitors asks the nodes' load monitors from where the client stands, as a control center on a host of its own does.
func (w *World) monitors(token string) *monitor.Client {
	c := &monitor.Client{Client: door.Client{Token: func(context.Context) (string, error) { return token, nil }, Insecure: true, Dial: w.Client.Dial}}
	w.t.Cleanup(c.Close)
	return c
}

// node is what a node told of itself, once it told where its load monitor answers.
func (w *World) node(name string) (n *cluster.Node) {
	w.t.Helper()
	w.Eventually(10*time.Second, "the node tells of its load monitor", func() bool {
		snapshot, err := w.Store.Snapshot(w.t.Context())
		require.NoError(w.t, err)
		n, _ = snapshot.Nodes.Get(name)
		return n != nil && n.Monitor != ""
	})
	return n
}

// A load monitor on each of two nodes: both answer, each for its own instances, to who knows the token.
func TestLoadMonitors(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2, AgentArgs: []string{"--load-listen", ":9647", "--insecure-etcd"}})
	w.Put("ops/secret", `{"token":"`+monitorToken+`"}`)
	f := w.Frontend(cluster.TCP, false)
	one, here := w.Serve(w.Nodes[0], 80, false)
	two, _ := w.Serve(w.Nodes[1], 80, false)
	far, elsewhere := w.Serve(w.Instances[0], 80, false)
	service := Service("a", f, one, two, far)
	service.Check = &cluster.Check{TCP: &cluster.TCPCheck{}, Interval: cluster.Duration(500 * time.Millisecond)}
	w.Publish(service)
	n1, n2 := w.node("n1"), w.node("n2")
	require.Equal(t, "http://192.168.10.1:9647", n1.Monitor)

	asks := w.monitors(monitorToken)
	for name, instance := range map[string]string{"n1": one, "n2": two} {
		node := map[string]*cluster.Node{"n1": n1, "n2": n2}[name]
		w.Eventually(20*time.Second, name+" tells of its instance", func() bool {
			report, problems, err := asks.Loads(t.Context(), name, node)
			require.NoError(t, err)
			require.Empty(t, problems)
			require.Equal(t, name, report.Node)
			return len(report.Loads) == 1 && report.Loads[0].Instance == instance && report.Loads[0].LatencyMS > 0
		})
	}
	_, _, err := w.monitors(strings.Repeat("x", 32)).Loads(t.Context(), "n1", n1)
	require.ErrorContains(t, err, "it answers 401 Unauthorized")
	_, _, err = (&monitor.Client{Client: door.Client{Token: asks.Token, Dial: w.Client.Dial}}).Loads(t.Context(), "n1", n1)
	require.ErrorIs(t, err, cluster.ErrUnsafe, "the token does not go over the network unless that was asked for by name")

	// A look from n2: instances wherever they run, and nothing else.
	address := netip.MustParseAddrPort
	look := func() map[netip.AddrPort]bool {
		answers, err := asks.Look(t.Context(), "n2", n2, []netip.AddrPort{address(one), address(far), address("192.168.10.1:9647")})
		require.NoError(t, err)
		return answers
	}
	require.Equal(t, map[netip.AddrPort]bool{address(one): true, address(far): true}, look())
	require.NoError(t, elsewhere.Close())
	require.Equal(t, map[netip.AddrPort]bool{address(one): true, address(far): false}, look())

	// What is wrong is in etcd at once, by its own node, and the rules follow.
	idle := w.verdicts("n1")
	require.NotContains(t, idle, one)
	require.NoError(t, here.Close())
	w.Eventually(5*time.Second, "the verdict is written", func() bool { return slices.Contains(w.verdicts("n1"), one) })
	require.NotContains(t, w.verdicts("n2"), one, "it is another node's")
	w.Eventually(5*time.Second, "no connection goes there", func() bool {
		snapshot, err := w.Store.Snapshot(t.Context())
		require.NoError(t, err)
		in, _ := snapshot.Services.Get("a")
		states := cluster.Resolve(in).Instances
		i := slices.IndexFunc(states, func(s cluster.State) bool { return s.Instance.ID == one })
		return states[i].Status == cluster.IsDead
	})

	// While etcd is away the instance comes back; etcd learns it afterwards. The monitor's figures are there all the time.
	w.StopEtcd()
	w.Serve(w.Nodes[0], 80, false)
	w.Eventually(20*time.Second, "it answers its checks again", func() bool {
		report, _, err := asks.Loads(t.Context(), "n1", n1)
		require.NoError(t, err)
		return len(report.Loads) == 1 && report.Loads[0].LatencyMS > 0 && report.Loads[0].FailedInRow == 0
	})
	w.StartEtcd()
	w.Eventually(20*time.Second, "the verdict is taken back", func() bool { return !slices.Contains(w.verdicts("n1"), one) })
}

// Where the agent reaches etcd with a certificate, its load monitor is reached by others with one, and by nobody else.
func TestLoadMonitorByTLS(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 1, Idle: true})
	ca := newAuthority(t)
	own := ca.client(t, "weir-node-n1")
	plain, err := w.Nodes[0].Listen("tcp", "127.0.0.1:2379")
	require.NoError(t, err)
	proxy := lab.StartProxy(tls.NewListener(plain, ca.server(t, "127.0.0.1")), func() (net.Conn, error) {
		return net.Dial("unix", strings.TrimPrefix(w.Endpoint(), "unix://"))
	})
	t.Cleanup(func() { _ = proxy.Close() })
	a := w.Agents[0]
	a.Args[slices.Index(a.Args, w.Endpoint())] = "https://127.0.0.1:2379"
	a.Args = append(a.Args, "--etcd-ca", own.CA, "--etcd-cert", own.Cert, "--etcd-key", own.Key)
	a.Start()
	w.AwaitAgents(1)
	w.Put("ops/secret", `{"token":"`+monitorToken+`"}`)
	n1 := w.node("n1")
	require.Equal(t, "https://192.168.10.1:9647", n1.Monitor)

	asks := w.monitors(monitorToken)
	asks.TLS = ca.client(t, "weir-controlcenter")
	w.Eventually(10*time.Second, "it answers", func() bool {
		report, _, err := asks.Loads(t.Context(), "n1", n1)
		return err == nil && report.Node == "n1"
	})
	for name, c := range map[string]*door.Credential{"of another CA": newAuthority(t).client(t, "weir-controlcenter"), "none": nil} {
		other := w.monitors(monitorToken)
		other.TLS = c
		_, _, err = other.Loads(t.Context(), "n1", n1)
		require.Error(t, err, name)
	}
	insecure := *n1
	insecure.Monitor = strings.Replace(n1.Monitor, "https", "http", 1)
	_, _, err = w.monitors(monitorToken).Loads(t.Context(), "n1", &insecure)
	require.ErrorContains(t, err, "400 Bad Request")

	// What is seen of the token from outside.
	require.NotContains(t, a.Log(), monitorToken)
	for _, page := range []string{"/metrics", "/debug/snapshot", "/debug/problems"} {
		_, body := a.Get(page)
		require.NotContains(t, body, monitorToken)
	}
	require.Positive(t, a.Metric("weir_monitor_requests_total"))
	w.Eventually(10*time.Second, "it takes samples", func() bool { return a.Metric("weir_monitor_sample_seconds_count") > 0 })
	code, _ := a.Get("/readyz")
	require.Equal(t, http.StatusOK, code)
}

// loadmon starts a load monitor in a process of its own on the first node.
func (w *World) loadmon(args ...string) *Agent {
	l := w.NewAgent("n1", w.Nodes[0])
	l.pages = "127.0.0.1:9649"
	l.Args = append([]string{"loadmon", "--node", "n1", "--etcd", w.Endpoint()}, args...)
	l.Start()
	w.t.Cleanup(l.finish)
	return l
}

// A load monitor in a process of its own, beside an agent without one. A second one gives way; what the agent writes of its
// node does not contradict it.
func TestLoadMonitorAlone(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 1, AgentArgs: []string{"--loadmon=false"}})
	w.Put("ops/secret", `{"token":"`+monitorToken+`"}`)
	start := func() *Agent { return w.loadmon("--load-listen", ":9647", "--insecure-etcd") }
	l := start()
	n1 := w.node("n1")
	require.Equal(t, "http://192.168.10.1:9647", n1.Monitor)
	require.NotEmpty(t, n1.Version, "what the agent told is still there")
	w.Eventually(10*time.Second, "it answers", func() bool {
		_, _, err := w.monitors(monitorToken).Loads(t.Context(), "n1", n1)
		return err == nil
	})
	code, page := l.Get("/debug/checks")
	require.Equal(t, http.StatusOK, code, page)
	require.Contains(t, page, "VERDICT")
	second := start()
	second.AwaitEnd()
	require.Contains(t, second.Log(), "is another load monitor running")

	w.Agents[0].Stop()
	w.Agents[0].Args = append(w.Agents[0].Args, "--label", "zone=east")
	w.Agents[0].Start()
	w.Eventually(20*time.Second, "both have written the record", func() bool {
		snapshot, err := w.Store.Snapshot(t.Context())
		require.NoError(t, err)
		n, _ := snapshot.Nodes.Get("n1")
		return n != nil && n.Labels["zone"] == "east" && n.Monitor == n1.Monitor
	})
	l.Stop()
}

// What a load monitor of its own may not run is in the views as what an agent's may not is, for as long as it is so: until the check
// is another one, the monitor may run it, or the monitor ends. Nobody but that process writes the key.
func TestLoadMonitorAloneComplains(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2, Idle: true})
	w.Agents[0].Args = append(w.Agents[0].Args, "--loadmon=false")
	for _, a := range w.Agents {
		a.Start()
	}
	w.AwaitAgents(2)
	f := w.Frontend(cluster.TCP, false)
	one, _ := w.Serve(w.Nodes[0], 80, false)
	two, _ := w.Serve(w.Nodes[1], 80, false)
	service := func(c *cluster.Check) *cluster.Service {
		s := Service("a", f, one, two)
		s.Check = c
		return s
	}
	exec := &cluster.Check{Exec: &cluster.ExecCheck{Command: []string{"/bin/true"}}}
	l := w.loadmon()
	w.Publish(service(exec))

	complains := func(nodes ...string) func() bool {
		return func() bool {
			var rows []controlcenter.Trouble
			require.NoError(t, json.Unmarshal([]byte(w.Weir("get", "problems", "a", "-o", "json")), &rows))
			var who []string
			for _, r := range rows {
				if r.Field != "check.exec" {
					continue // such as of checks that a slow machine did not answer in time
				}
				require.Equal(t, "node "+r.Node+" runs no programs for checks, so the service's instances there are only watched by the kernel's signs", r.What)
				require.Contains(t, r.Fix, "weir loadmon where that runs beside it, with --allow-exec-checks")
				who = append(who, r.Node)
			}
			return slices.Equal(who, nodes)
		}
	}
	keys := func() (nodes []string) {
		told, err := w.Store.Loadmons(t.Context())
		require.NoError(t, err)
		return slices.Sorted(maps.Keys(told))
	}
	w.Eventually(20*time.Second, "both nodes complain", complains("n1", "n2"))
	require.Equal(t, []string{"n1"}, keys(), "of n2 its agent tells")
	require.Contains(t, w.Weir("describe", "service", "a"), "n1 (alive): service a: check.exec: node n1 runs no programs for checks")
	require.Positive(t, l.Metric("weir_monitor_complaints"))

	w.Publish(service(&cluster.Check{TCP: &cluster.TCPCheck{}}))
	w.Eventually(20*time.Second, "nobody complains of another check", complains())
	require.Empty(t, keys())

	// An operator allows it: the process that complained ends, and the next one has nothing to say.
	w.Publish(service(exec))
	w.Eventually(20*time.Second, "both nodes complain again", complains("n1", "n2"))
	l.Stop()
	w.Eventually(30*time.Second, "what has ended complains of nothing", func() bool { return len(keys()) == 0 }) // its lease would last longer
	l.Args = append(l.Args, "--allow-exec-checks")
	l.Start()
	w.Eventually(20*time.Second, "it runs the check", func() bool {
		_, page := l.Get("/debug/checks")
		return strings.Contains(page, "exec")
	})
	w.Eventually(20*time.Second, "n2 is left", complains("n2"))
	require.Empty(t, keys())

	// One that was killed could take nothing back: the next one does.
	l.Stop()
	l.Args = l.Args[:len(l.Args)-1]
	l.Start()
	w.Eventually(20*time.Second, "it complains", complains("n1", "n2"))
	l.Kill()
	l.Args = append(l.Args, "--allow-exec-checks")
	l.Start()
	w.Eventually(20*time.Second, "what was said before the kill is taken back", func() bool { return len(keys()) == 0 })
}

// verdicts are the instances of which a node says that they are not well.
func (w *World) verdicts(node string) []string {
	w.t.Helper()
	var r *clientv3.GetResponse
	w.Eventually(20*time.Second, "etcd answers", func() bool {
		client, err := w.Store.Client()
		require.NoError(w.t, err)
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		defer cancel()
		r, err = client.Get(ctx, w.Store.Prefix()+"net/health/"+node)
		return err == nil
	})
	if len(r.Kvs) == 0 {
		return nil
	}
	var health cluster.NodeHealth
	require.NoError(w.t, json.Unmarshal(r.Kvs[0].Value, &health))
	return slices.Collect(maps.Keys(health["a"]))
}
