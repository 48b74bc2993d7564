package chaos

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
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
)

// authority signs certificates.
type authority struct {
	r    *run
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (r *run) authority(name string) *authority {
	r.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(r, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	text, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(r, err)
	cert, err := x509.ParseCertificate(text)
	require.NoError(r, err)
	return &authority{r, cert, key}
}

// issue writes a certificate and its key in place of what is there. It is good for etcd and for an agent.
func (a *authority) issue(file string, end time.Time, addresses ...string) {
	a.r.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.r, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "n1"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, address := range addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	text, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(a.r, err)
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(a.r, err)
	a.r.pem(file+".crt", "CERTIFICATE", text)
	a.r.pem(file+".key", "EC PRIVATE KEY", secret)
}

func (r *run) pem(file, kind string, bytes []byte) {
	r.Helper()
	require.NoError(r, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600))
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
	ours, others := r.authority("ours"), r.authority("others")
	dir := r.TempDir()
	server, client, root := filepath.Join(dir, "server"), filepath.Join(dir, "client"), filepath.Join(dir, "ca.crt")
	good := time.Now().Add(time.Hour)
	r.pem(root, "CERTIFICATE", ours.cert.Raw)
	ours.issue(server, good, etcdAddress)
	ours.issue(client, time.Now().Add(6*time.Second))
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
	ours.issue(client, good)
	reload()
	ours.issue(server, time.Now().Add(-time.Minute), etcdAddress)
	proxy.Cut()
	r.refused(w, a, 15*time.Second, "certificate has expired")
	others.issue(server, good, etcdAddress)
	proxy.Cut()
	r.refused(w, a, 15*time.Second, "unknown authority")
	ours.issue(server, good, etcdAddress)
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
