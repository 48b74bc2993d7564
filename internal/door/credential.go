package door

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// Credential is what this process is known by to etcd: the files of its certificate and key, and of the CA that signs
// everybody's. They are read again, so that they may be rotated in place.
type Credential struct {
	CA, Cert, Key string

	mu   sync.Mutex
	last *identity
	read time.Time
}

type identity struct {
	pair  tls.Certificate
	roots *x509.CertPool
}

// fresh is for how long files that were read count as the newest.
const fresh = time.Second

// load reads the files. While they cannot be read, as in the middle of a rotation, what they held before stays.
func (c *Credential) load() (*identity, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != nil && time.Since(c.read) < fresh {
		return c.last, nil
	}
	now, err := c.files()
	if err != nil && c.last == nil {
		return nil, err
	}
	if err == nil {
		c.last = now
	}
	c.read = time.Now()
	return c.last, nil
}

func (c *Credential) files() (*identity, error) {
	if c.CA == "" || c.Cert == "" || c.Key == "" {
		return nil, errors.New("TLS between nodes and who asks them needs all three: --etcd-ca, --etcd-cert and --etcd-key")
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("read the CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the CA: %s holds no certificate in PEM form", c.CA)
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return &identity{pair, roots}, nil
}

// Server is the configuration of a server that answers only to who has a certificate of the same CA.
func (c *Credential) Server() (*tls.Config, error) {
	if _, err := c.load(); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		id, err := c.load()
		if err != nil {
			return nil, err
		}
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{id.pair}, ClientCAs: id.roots, ClientAuth: tls.RequireAndVerifyClientCert}, nil
	}}, nil
}

// client is the configuration of a connection to a node.
func (c *Credential) client(node string, address netip.Addr) (*tls.Config, error) {
	id, err := c.load()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{id.pair},
		// Certificates of nodes are for clients, and name no address: verification is ours.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			return verify(s.PeerCertificates, id.roots, node, address)
		},
	}, nil
}

// verify says what is wrong with the certificates of who answers for a node, or nil.
func verify(chain []*x509.Certificate, roots *x509.CertPool, node string, address netip.Addr) error {
	if len(chain) == 0 {
		return errors.New("the node shows no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return err
	}
	return vouches(chain[0], node, address)
}

// AllNodes is the common name of a certificate that all nodes share.
const AllNodes = "weir-nodes"

// vouches says whether a certificate is a node's: by the user that weir rbac makes for it, by one that all nodes share, or
// by the node's name or address as for any server. An operator's or another node's is not.
func vouches(c *x509.Certificate, node string, address netip.Addr) error {
	if name := c.Subject.CommonName; name == "weir-node-"+node || name == AllNodes {
		return nil
	}
	if slices.Contains(c.DNSNames, node) || c.VerifyHostname(address.String()) == nil {
		return nil
	}
	return fmt.Errorf("the certificate of %q is not that of node %s: want the common name weir-node-%s or %s, or the subject alternative name %s", c.Subject.CommonName, node, node, AllNodes, address)
}

// asked carries the node that a connection is for to where it is made.
type asked struct{}

type target struct {
	node    string
	address netip.AddrPort
}

func withTarget(ctx context.Context, t target) context.Context {
	return context.WithValue(ctx, asked{}, t)
}

func targetOf(ctx context.Context) (target, bool) {
	t, ok := ctx.Value(asked{}).(target)
	return t, ok
}
