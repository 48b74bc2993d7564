package etcd

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/testcerts"
)

func TestUnsafe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		Config
		want string
	}{
		"loopback":               {Config{Endpoints: []string{"http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"}}, ""},
		"unix":                   {Config{Endpoints: []string{"unix:///run/x"}}, ""},
		"plain":                  {Config{Endpoints: []string{"http://192.0.2.1:1"}, User: "u", Password: "p"}, "plain http"},
		"plain name":             {Config{Endpoints: []string{"http://etcd:1"}}, "plain http"},
		"plain among local ones": {Config{Endpoints: []string{"http://127.0.0.1:1", "http://192.0.2.1:1"}}, "plain http"},
		"looks local":            {Config{Endpoints: []string{"http://127.0.0.1.example.com:1"}}, "plain http"},
		"nobody":                 {Config{Endpoints: []string{"https://192.0.2.1:1"}}, "without authentication"},
		"by password":            {Config{Endpoints: []string{"https://192.0.2.1:1"}, User: "u", Password: "p"}, ""},
		"by the user's wish":     {Config{Endpoints: []string{"http://192.0.2.1:1"}, Insecure: true}, ""},
	} {
		_, err := Open(t.Context(), c.Config)
		if c.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, cluster.ErrUnsafe, name)
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, "--insecure-etcd", name)
	}
	for _, c := range []Config{
		{}, {Endpoints: []string{"10.0.0.1"}}, {Endpoints: []string{"ftp://127.0.0.1:1"}}, {Endpoints: []string{"https://127.0.0.1"}},
		{Endpoints: []string{"https://127.0.0.1:1", "http://127.0.0.1:1"}}, {Endpoints: []string{"https://127.0.0.1:1"}, Cert: "x"},
		{Endpoints: []string{"https://127.0.0.1:1"}, CA: "/nonexistent"}, {Endpoints: []string{"http://127.0.0.1:1"}, CA: "/etc/hostname"},
	} {
		_, err := Open(t.Context(), c)
		require.Error(t, err, "%+v", c)
	}
}

// keep writes the client's files.
func keep(t *testing.T, c Config, ca *testcerts.Authority, client tls.Certificate) {
	t.Helper()
	ca.Write(t, c.CA)
	testcerts.Write(t, client, c.Cert, c.Key)
}

// etcdItself is whom a server's certificate is for.
var etcdItself = testcerts.Of{Name: "etcd", Server: true, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Ends: 48 * time.Hour}

func TestCertificatesAreReadAnew(t *testing.T) {
	t.Parallel()
	first, second := testcerts.New(t, "first"), testcerts.New(t, "second")
	e := server(t)
	var serving atomic.Pointer[testcerts.Authority]
	serving.Store(first)
	config := &tls.Config{NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	current := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		own := config.Clone()
		ca := serving.Load()
		own.Certificates = []tls.Certificate{ca.Issue(t, etcdItself)}
		own.ClientCAs, own.ClientAuth = ca.Pool(), tls.RequireAndVerifyClientCert
		return own, nil
	}
	p := forwardTLS(t, &tls.Config{GetConfigForClient: current, MinVersion: tls.VersionTLS12}, e.Endpoint())
	dir := t.TempDir()
	c := Config{
		Endpoints: []string{"https://" + p.Addr().String()},
		CA:        filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"),
	}
	keep(t, c, first, first.Issue(t, testcerts.Of{Name: "n1"}))
	s := openAs(t, c)
	w := watch(t, s, quick)
	publish(t, s, svc("a", 1))
	w.until(t, "a", has("a"))

	serving.Store(second) // both sides are rotated; the old CA is worth nothing any more
	p.Cut()
	away(t, s)
	_, err := s.Snapshot(t.Context())
	require.ErrorIs(t, err, cluster.ErrUnreachable)
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	publish(t, open(t, e.Endpoint()), svc("b", 2))
	keep(t, c, second, second.Issue(t, testcerts.Of{Name: "n1"}))
	w.until(t, "b, without a restart", has("b"))

	expired := c
	expired.Cert, expired.Key = filepath.Join(dir, "old-cert"), filepath.Join(dir, "old-key")
	keep(t, expired, second, second.Issue(t, testcerts.Of{Name: "n1", Ends: -time.Minute}))
	_, err = openAs(t, expired).Snapshot(t.Context())
	require.ErrorIs(t, err, cluster.ErrUnreachable)
	wrong := c
	wrong.CA = filepath.Join(dir, "other-ca")
	first.Write(t, wrong.CA)
	_, err = openAs(t, wrong).Snapshot(t.Context())
	require.ErrorContains(t, err, "unknown authority")
}
