package check

import (
	"crypto/tls"
	"net/netip"

	"github.com/weir-lb/weir/cluster"
)

// tlsConfig is how a check speaks TLS to an address.
func tlsConfig(s *cluster.CheckTLS, to netip.Addr, protocol string) *tls.Config {
	name := s.Name
	if name == "" {
		name = to.String() // verified as an address; never sent as a name
	}
	return &tls.Config{
		ServerName: name, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: !s.Verify, // as the operator chose: the address is known, and what matters is the answer
	}
}
