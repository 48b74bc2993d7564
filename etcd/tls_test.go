package etcd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
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

// authority is a CA of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	der  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key, der}
}

func (a *authority) issue(t *testing.T, name string, until time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(until), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func save(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// keep writes the client's files.
func keep(t *testing.T, c Config, ca *authority, client tls.Certificate) {
	t.Helper()
	save(t, c.CA, "CERTIFICATE", ca.der)
	save(t, c.Cert, "CERTIFICATE", client.Certificate[0])
	der, err := x509.MarshalECPrivateKey(client.PrivateKey.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	save(t, c.Key, "EC PRIVATE KEY", der)
}

func TestCertificatesAreReadAnew(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	e := server(t)
	serving := first
	config := &tls.Config{NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	current := func(*tls.ClientHelloInfo) (*tls.Config, error) {
		own := config.Clone()
		own.Certificates = []tls.Certificate{serving.issue(t, "etcd", time.Hour)}
		own.ClientCAs, own.ClientAuth = serving.pool(), tls.RequireAndVerifyClientCert
		return own, nil
	}
	p := forwardTLS(t, &tls.Config{GetConfigForClient: current, MinVersion: tls.VersionTLS12}, e.Endpoint())
	dir := t.TempDir()
	c := Config{
		Endpoints: []string{"https://" + p.Addr().String()},
		CA:        filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"),
	}
	keep(t, c, first, first.issue(t, "n1", time.Hour))
	s := openAs(t, c)
	w := watch(t, s, quick)
	publish(t, s, svc("a", 1))
	w.until(t, "a", has("a"))

	serving = second // both sides are rotated; the old CA is worth nothing any more
	p.Cut()
	away(t, s)
	_, err := s.Snapshot(t.Context())
	require.ErrorIs(t, err, cluster.ErrUnreachable)
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	publish(t, open(t, e.Endpoint()), svc("b", 2))
	keep(t, c, second, second.issue(t, "n1", time.Hour))
	w.until(t, "b, without a restart", has("b"))

	expired := c
	expired.Cert, expired.Key = filepath.Join(dir, "old-cert"), filepath.Join(dir, "old-key")
	keep(t, expired, second, second.issue(t, "n1", -time.Minute))
	_, err = openAs(t, expired).Snapshot(t.Context())
	require.ErrorIs(t, err, cluster.ErrUnreachable)
	wrong := c
	wrong.CA = filepath.Join(dir, "other-ca")
	save(t, wrong.CA, "CERTIFICATE", first.der)
	_, err = openAs(t, wrong).Snapshot(t.Context())
	require.ErrorContains(t, err, "unknown authority")
}
