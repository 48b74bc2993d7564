package chaos

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/internal/testcerts"
)

// issue writes a certificate and its key in place of what is there. It is good for etcd and for an agent.
func (r *run) issue(by *testcerts.Authority, file string, ends time.Duration, addresses ...string) {
	r.Helper()
	of := testcerts.Of{Name: "n1", Server: true, Ends: ends}
	for _, address := range addresses {
		of.IPs = append(of.IPs, net.ParseIP(address))
	}
	testcerts.Write(r, by.Issue(r, of), file+".crt", file+".key")
}

const etcdAddress = "192.168.10.60"

// network gives etcd an address in the cluster's network, and serves it there through a proxy.
func (r *run) network(w *integration.World, m *integration.Members, dial func() (net.Conn, error)) *lab.Proxy {
	r.Helper()
	address := netip.MustParseAddr(etcdAddress)
	require.NoError(r, w.Switch.Attach(m.Host, "eth0", netip.PrefixFrom(address, 24)))
	l, err := m.Host.Listen("tcp", netip.AddrPortFrom(address, 2379).String())
	require.NoError(r, err)
	p := lab.StartProxy(l, dial)
	r.Cleanup(func() { _ = p.Close() })
	return p
}

// reach gives an agent that is not started yet another way to etcd.
func reach(w *integration.World, a *integration.Agent, args ...string) {
	a.Args = append(slices.DeleteFunc(a.Args, func(s string) bool { return s == "--etcd" || s == w.Endpoint() }), args...)
}

// refused waits until an agent says why it has no etcd, and that its rules are as before.
func (r *run) refused(w *integration.World, a *integration.Agent, within time.Duration, reason string) {
	r.Helper()
	last := ""
	defer func() {
		if r.Failed() {
			r.Logf("readyz says: %s", last)
		}
	}()
	r.detected(w.Eventually(within, "not ready: "+reason, func() bool {
		code, body := a.Get("/readyz")
		last = body
		return code == http.StatusServiceUnavailable && strings.Contains(body, "the last rules are kept") && strings.Contains(body, reason)
	}))
}

// certificates has those of an agent and of etcd run out, be renewed, and come from somebody else, one after the other. The
// agent is never started again.
func certificates(r *run) {
	ours, others := testcerts.New(r, "ours"), testcerts.New(r, "others")
	dir := r.TempDir()
	server, client, root := filepath.Join(dir, "server"), filepath.Join(dir, "client"), filepath.Join(dir, "ca.crt")
	const good = time.Hour
	ours.Write(r, root)
	r.issue(ours, server, good, etcdAddress)
	r.issue(ours, client, 6*time.Second)
	ends := time.Now().Add(6 * time.Second)
	m := r.members(1, "--listen-client-urls", "unix://localhost:2379,https://127.0.0.1:2379", "--cert-file", server+".crt", "--key-file", server+".key",
		"--client-cert-auth", "--trusted-ca-file", root)
	w := r.world(integration.Options{Members: m, Nodes: 1, Idle: true})
	proxy := r.network(w, m, func() (net.Conn, error) { return m.Host.Dial(r.Context(), "tcp", "127.0.0.1:2379") })
	a := w.Agents[0]
	reach(w, a, "--etcd", "https://"+etcdAddress+":2379", "--etcd-ca", root, "--etcd-cert", client+".crt", "--etcd-key", client+".key")
	a.Start()
	w.AwaitAgents(1)
	p := r.probe(w)
	reload := func() {
		proxy.Cut()
		r.most("t_reload_s", w.Eventually(20*time.Second, "ready again", func() bool {
			code, _ := a.Get("/readyz")
			return code == http.StatusOK
		}).Seconds())
	}
	<-time.After(time.Until(ends)) // until its certificate ends: an open connection is not asked for one again
	a.AwaitReady(time.Second)
	proxy.Cut()
	r.refused(w, a, 15*time.Second, "certificate")
	r.issue(ours, client, good)
	reload()
	r.issue(ours, server, -time.Minute, etcdAddress)
	proxy.Cut()
	r.refused(w, a, 15*time.Second, "certificate has expired")
	r.issue(others, server, good, etcdAddress)
	proxy.Cut()
	r.refused(w, a, 15*time.Second, "unknown authority")
	r.issue(ours, server, good, etcdAddress)
	reload()
	f := w.Frontend(cluster.TCP, false)
	w.Publish(integration.Service("after", f, p.addresses[0]))
	w.Only(w.Nodes[0], f, p.addresses[0])
	p.unharmed()
	require.Less(r, r.line.Figures["t_reload_s"], 15.0)
}

// rightsRevoked takes an agent's role away, and gives it back.
func rightsRevoked(r *run) {
	m := r.members(1)
	w := r.world(integration.Options{Members: m, Nodes: 1, Idle: true})
	script, code := r.weir(w, "rbac", "n1")
	require.Zero(r, code, script)
	script = strings.ReplaceAll(script, "--no-password root", "root:secret")
	script = strings.ReplaceAll(script, "--no-password weir-node-n1", "weir-node-n1:secret")
	r.etcdctl(m, script)
	secret := filepath.Join(w.Dir, "password")
	require.NoError(r, os.WriteFile(secret, []byte("secret\n"), 0o600))
	store, err := etcd.Open(r.Context(), etcd.Config{Endpoints: m.Endpoints(), User: "root", Password: "secret"})
	require.NoError(r, err)
	require.NoError(r, w.Store.Close())
	w.Store = store
	a := w.Agents[0]
	a.Args = append(a.Args, "--etcd-user", "weir-node-n1", "--etcd-password-file", secret)
	a.Start()
	w.AwaitAgents(1)
	p := r.probe(w)
	before := w.Slots(w.Nodes[0])

	r.etcdctl(m, "etcdctl --user root:secret user revoke-role weir-node-n1 weir-node-n1")
	r.refused(w, a, 50*time.Second, "permission denied")
	require.Equal(r, before, w.Slots(w.Nodes[0]))
	a.Kill() // and it comes back without rights
	a.Start()
	w.Eventually(10*time.Second, "the next one says so too", func() bool {
		_, body := a.Get("/readyz")
		return strings.Contains(body, "permission denied")
	})
	w.Only(w.Nodes[0], p.tcp, p.addresses...) // nft does not list a table whose owner died
	p.more(300)
	p.unharmed()
	r.figure("rules_kept_percent", 100)

	r.etcdctl(m, "etcdctl --user root:secret user grant-role weir-node-n1 weir-node-n1")
	a.AwaitReady(20 * time.Second)
	require.Equal(r, before, w.Slots(w.Nodes[0]))
	w.Publish(integration.Service("after", w.Frontend(cluster.TCP, false), p.addresses[0]))
}

// etcdctl runs a script of its calls against the first member.
func (r *run) etcdctl(m *integration.Members, script string) {
	r.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = filepath.Dir(m.All[0].Socket())
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS=unix://"+filepath.Base(m.All[0].Socket()))
	out, err := cmd.CombinedOutput()
	require.NoError(r, err, "%s", out)
}
