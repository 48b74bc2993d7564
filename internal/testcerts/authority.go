// Package testcerts makes certificates for tests.
package testcerts

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
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Authority signs certificates.
type Authority struct{ own tls.Certificate }

// New makes an authority that ends in an hour.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{}
	a.own = a.sign(t, x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	return a
}

// Of is whom a certificate is for.
type Of struct {
	Name   string
	Server bool          // it is good for a server too, not for a client alone
	IPs    []net.IP      // where that is
	Ends   time.Duration // from now; 0: an hour. What has ended may have been good for an hour before now
}

// Issue makes a certificate.
func (a *Authority) Issue(t testing.TB, of Of) tls.Certificate {
	t.Helper()
	if of.Ends == 0 {
		of.Ends = time.Hour
	}
	template := x509.Certificate{
		Subject: pkix.Name{CommonName: of.Name}, NotAfter: time.Now().Add(of.Ends), IPAddresses: of.IPs,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if of.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	return a.sign(t, template)
}

// sign is done by the key itself as long as there is no other.
func (a *Authority) sign(t testing.TB, template x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template.SerialNumber, template.NotBefore = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour)
	parent, signer := &template, any(key)
	if a.own.Leaf != nil {
		parent, signer = a.own.Leaf, a.own.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent, &key.PublicKey, signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}
}

// Pool is the authority as those have it who trust it.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.own.Leaf)
	return p
}

// Write keeps the authority's certificate as a file.
func (a *Authority) Write(t testing.TB, path string) {
	t.Helper()
	write(t, path, "CERTIFICATE", a.own.Leaf.Raw)
}

// Write keeps a certificate and its key as files.
func Write(t testing.TB, c tls.Certificate, cert, key string) {
	t.Helper()
	private, err := x509.MarshalECPrivateKey(c.PrivateKey.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	write(t, cert, "CERTIFICATE", c.Leaf.Raw)
	write(t, key, "EC PRIVATE KEY", private)
}

func write(t testing.TB, path, kind string, der []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}
