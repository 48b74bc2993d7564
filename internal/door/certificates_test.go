package door

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-lb/weir/internal/testcerts"
)

// issue keeps a client certificate and the CA as files, as docs/operations.md makes them.
func issue(t testing.TB, ca *testcerts.Authority, dir, name string, ends time.Duration, ips ...net.IP) *Credential {
	t.Helper()
	c := &Credential{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	ca.Write(t, c.CA)
	testcerts.Write(t, ca.Issue(t, testcerts.Of{Name: name, Ends: ends, IPs: ips}), c.Cert, c.Key)
	return c
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}
