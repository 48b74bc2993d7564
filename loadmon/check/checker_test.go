package check

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// tcp is a pace that tests can wait for. That a busy machine is slow is no failure.
func tcp() *cluster.Check {
	return &cluster.Check{TCP: &cluster.TCPCheck{}, Interval: cluster.MinInterval, Timeout: patient}
}

// service has one instance per address, with the address as its id.
func service(name string, check *cluster.Check, addresses ...netip.AddrPort) *cluster.Service {
	s := &cluster.Service{Name: name, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Check: check, CreateRevision: 1, ModRevision: revision.Add(1)}
	for _, a := range addresses {
		s.Instances = append(s.Instances, cluster.Instance{ID: a.String(), Addr: a.Addr(), Port: a.Port(), Weight: 1})
	}
	return s
}

var revision atomic.Int64

// ports are those of servers, below what the kernel gives to whoever asks for any: this namespace is ours alone.
var ports atomic.Uint32

// world is a draft with the node n1, which has the address of host.
func world(services ...*cluster.Service) *cluster.Draft {
	d := cluster.NewDraft()
	d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr(host)}, Monitor: "http://" + host + ":9647"})
	for _, s := range services {
		d.Service(s.Name, s)
	}
	return d
}

// server listens on a port of its own, where none is given, or again on the same one: nobody else gets that meanwhile.
func server(t *testing.T, address string) (net.Listener, netip.AddrPort) {
	t.Helper()
	if at := netip.MustParseAddrPort(address); at.Port() == 0 {
		address = netip.AddrPortFrom(at.Addr(), 10_000+uint16(ports.Add(1)%20_000)).String()
	}
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l, l.Addr().(*net.TCPAddr).AddrPort()
}

// running starts a checker that ends with the test.
func running(t *testing.T, o Options, s *cluster.Snapshot) *Checker {
	t.Helper()
	if o.Node == "" {
		o.Node = "n1"
	}
	c := New(o)
	c.Want(s)
	start(t, c)
	return c
}

func start(t *testing.T, c *Checker) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

// becomes waits until a verdict is told by the channel, and gives the verdict.
func becomes(t *testing.T, c *Checker, id ID, want cluster.Verdict) cluster.Health {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		if h := c.Health()[id.Service][id.Instance]; h.Verdict == want {
			return h
		}
		select {
		case <-c.Changed():
		case <-deadline:
			t.Fatalf("%s is not %q but %v", id, want, c.Health())
		}
	}
}

// checked waits until an instance was checked n times more.
func checked(t *testing.T, c *Checker, id ID, n uint64) {
	t.Helper()
	from := c.Results()[id].Checks
	require.Eventually(t, func() bool { return c.Results()[id].Checks >= from+n }, 20*time.Second, 5*time.Millisecond)
}

func TestTCPServiceDiesAndComesBack(t *testing.T) {
	t.Parallel()
	l, a := server(t, host+":0")
	id := ID{"a", a.String()}
	c := running(t, Options{}, world(service("a", tcp(), a)).Snapshot(1))
	checked(t, c, id, 3)
	require.Empty(t, c.Health())
	r := c.Results()[id]
	require.Positive(t, r.LatencyMS)
	require.Zero(t, r.Failed)

	_ = l.Close()
	h := becomes(t, c, id, cluster.Dead)
	require.Equal(t, "connection refused", h.Reason)
	require.WithinDuration(t, time.Now(), h.Since, 10*time.Second)
	checked(t, c, id, 2)
	require.Equal(t, h, c.Health()["a"][id.Instance], "it stays as it was told")
	require.GreaterOrEqual(t, c.Results()[id].FailedInRow, uint32(2))

	server(t, a.String())
	becomes(t, c, id, "")
	require.Zero(t, c.Results()[id].FailedInRow)
	require.GreaterOrEqual(t, c.Results()[id].Failed, uint64(2))
}

func TestHTTPServiceFailsAndComesBack(t *testing.T) {
	t.Parallel()
	l, a := server(t, host+":0")
	id := ID{"a", a.String()}
	var ill atomic.Bool
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprint(w, "no database\nat all\x1b[31m")
		}
	})}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	check := tcp()
	check.TCP, check.HTTP = nil, &cluster.HTTPCheck{Path: "/healthz"}
	c := running(t, Options{}, world(service("a", check, a)).Snapshot(1))
	checked(t, c, id, 2)
	require.Empty(t, c.Health())
	ill.Store(true)
	h := becomes(t, c, id, cluster.Failing)
	require.Equal(t, "status 503, want 200-399", h.Reason)
	require.Equal(t, `no database at all\x1b[31m`, h.Output)
	require.GreaterOrEqual(t, c.Results()[id].FailedInRow, uint32(3), "not before fall")
	ill.Store(false)
	becomes(t, c, id, "")
}

// What this node said before its monitor's restart is said again, until the checks say otherwise.
func TestVerdictsOutliveARestart(t *testing.T) {
	t.Parallel()
	_, well := server(t, host+":0")
	d := world(service("a", tcp(), well, netip.MustParseAddrPort(host+":1")))
	since := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	gone := cluster.Health{Verdict: cluster.Failing, Reason: "status 500", Output: "x", Since: since}
	earlier := cluster.NodeHealth{"a": {well.String(): gone}, "b": {"i": gone}}
	d.Health("n1", earlier)
	c := New(Options{Node: "n1"})
	require.Empty(t, c.Health())
	c.Want(d.Snapshot(1))
	require.Equal(t, cluster.NodeHealth{"a": {well.String(): gone}}, c.Health(), "since when, too; an instance that is gone is not mentioned")
	start(t, c)
	becomes(t, c, ID{"a", host + ":1"}, cluster.Dead)
	becomes(t, c, ID{"a", well.String()}, "")
	d.Health("n1", earlier)
	c.Want(d.Snapshot(2))
	require.NotContains(t, c.Health()["a"], well.String(), "later snapshots only repeat what was said")
}

// A suspicion ends with the monitor that had it: the checks of the next one tell.
func TestSuspicionsEndWithTheirMonitor(t *testing.T) {
	t.Parallel()
	d := world(service("a", tcp(), mineAt))
	d.Health("n1", cluster.NodeHealth{"a": {mine.Instance: {Verdict: cluster.Suspect, Since: time.Now()}}})
	c := New(Options{Node: "n1"})
	c.Want(d.Snapshot(1))
	require.Empty(t, c.Health())
}

// The first snapshot may be that of a file, older than the last verdicts: those of the next one count, too.
func TestVerdictsOfALaterSnapshot(t *testing.T) {
	t.Parallel()
	gone := cluster.Health{Verdict: cluster.Dead, Reason: "its process does not listen any more"}
	d := world(service("a", nil, mineAt, netip.MustParseAddrPort(host+":81")))
	c := New(Options{Node: "n1"})
	c.Want(d.Snapshot(1))
	require.NoError(t, c.Tell(ID{"a", host + ":81"}, Word{State: OK}))
	d.Health("n1", cluster.NodeHealth{"a": {mine.Instance: gone, host + ":81": gone}})
	c.Want(d.Snapshot(2))
	require.Equal(t, cluster.NodeHealth{"a": {mine.Instance: gone}}, c.Health(), "of the other one more is known")
}

// Instances of other nodes, refused ones, and those outside the configured networks are never connected to.
func TestNeverDialled(t *testing.T) {
	t.Parallel()
	var seen atomic.Int64
	listen := func(address string) netip.AddrPort {
		l, a := server(t, address)
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				seen.Add(1)
				_ = conn.Close()
			}
		}()
		return a
	}
	foreign, local, others := listen("192.168.71.1:0"), listen("127.0.0.1:0"), listen("192.168.70.2:0")
	_, mine := server(t, host+":0")
	d := world(service("a", tcp(), mine, foreign, local, others))
	d.Config(&cluster.Config{InstanceNetworks: []netip.Prefix{netip.MustParsePrefix("192.168.70.0/24")}})
	d.Node("n2", &cluster.Node{Addresses: []netip.Addr{others.Addr()}, Monitor: "http://192.168.70.2:9647"})
	c := running(t, Options{}, d.Snapshot(1))
	checked(t, c, ID{"a", mine.String()}, 5)
	require.Len(t, c.Results(), 1)
	require.Zero(t, seen.Load())

	d.Config(nil) // and the listeners do see what is allowed
	d.Node("n2", nil)
	c.Want(d.Snapshot(2))
	checked(t, c, ID{"a", foreign.String()}, 2)
	require.Positive(t, seen.Load())
	d.Config(&cluster.Config{InstanceNetworks: []netip.Prefix{netip.MustParsePrefix("192.168.70.1/32")}})
	c.Want(d.Snapshot(3))
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.running == 0 }, 20*time.Second, time.Millisecond, "what was under way has ended")
	for _, a := range []netip.AddrPort{foreign, others} { // and was accepted before this is, and closed
		conn, err := net.Dial("tcp", a.String())
		require.NoError(t, err)
		_, _ = conn.Read(make([]byte, 1))
		_ = conn.Close()
	}
	before := seen.Load()
	checked(t, c, ID{"a", mine.String()}, 5)
	require.Equal(t, before, seen.Load())
}
