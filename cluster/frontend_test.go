package cluster_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestParseFrontendRefusesMappedAddresses(t *testing.T) {
	t.Parallel()
	_, err := cluster.ParseFrontend("[::ffff:1.2.3.4]:80")
	require.EqualError(t, err, `frontend "[::ffff:1.2.3.4]:80": ::ffff:1.2.3.4 is an IPv4-mapped IPv6 address, which no client connects to: write 1.2.3.4:80`)
	f, err := cluster.ParseFrontend("1.2.3.4:80")
	require.NoError(t, err)
	require.Equal(t, "1.2.3.4:80", f.String())
}
