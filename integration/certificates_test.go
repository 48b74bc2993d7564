package integration

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"

	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/internal/testcerts"
)

// authority signs the certificates of one cluster.
type authority struct {
	*testcerts.Authority
	dir string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{testcerts.New(t, "weir CA"), t.TempDir()}
	a.Write(t, a.path("ca.pem"))
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

// server is what an etcd at an address shows, and what it asks of its clients.
func (a *authority) server(t *testing.T, address string) *tls.Config {
	t.Helper()
	own := a.Issue(t, testcerts.Of{Server: true, IPs: []net.IP{net.ParseIP(address)}})
	return &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: a.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
		NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
	}
}

// client are the files of a participant, as docs/operations.md makes them: for a client, and without an address.
func (a *authority) client(t *testing.T, name string) *door.Credential {
	t.Helper()
	cert, key := a.files(t, testcerts.Of{Name: name})
	return &door.Credential{CA: a.path("ca.pem"), Cert: cert, Key: key}
}

// peer are the files for both sides of a connection between two members.
func (a *authority) peer(t *testing.T, name string, host *lab.Host) (cert, key string) {
	t.Helper()
	return a.files(t, testcerts.Of{Name: name, Server: true, IPs: []net.IP{host.Addr4.AsSlice()}})
}

func (a *authority) files(t *testing.T, of testcerts.Of) (cert, key string) {
	t.Helper()
	cert, key = a.path(of.Name+".pem"), a.path(of.Name+".key")
	testcerts.Write(t, a.Issue(t, of), cert, key)
	return cert, key
}
