package cluster_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func pfx(s ...string) (out []netip.Prefix) {
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func instance(t require.TestingT, address string) cluster.Instance {
	i, err := cluster.ParseInstance(address)
	require.NoError(t, err)
	return i
}

// service is a sound service with n instances 192.168.10.1:80 and up.
func service(t *testing.T, name string, n int) *cluster.Service {
	s := &cluster.Service{
		Name: name, VIPs: []netip.Addr{addr("10.10.1.128")},
		Ports:          []cluster.Port{{Port: 8080, Protocol: cluster.TCP}},
		CreateRevision: 1, ModRevision: 1,
	}
	for i := range n {
		inst := instance(t, fmt.Sprintf("192.168.%d.%d:80", 10+i/250, i%250+1))
		inst.ID = fmt.Sprintf("i%02d", i+1)
		s.Instances = append(s.Instances, inst)
	}
	return s
}

func fields(problems []cluster.Problem) (out []string) {
	for _, p := range problems {
		out = append(out, p.Field)
	}
	return out
}
