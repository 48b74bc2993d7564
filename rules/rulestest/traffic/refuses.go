package traffic

import (
	"net/netip"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// Refuses has the client connect, and requires that each attempt is refused and counted. Where it hears nothing for a second it
// sends its first packet again, which counts once more.
func (r *Road) Refuses(f cluster.Frontend, source netip.Addr, n int, counted func() uint64) {
	r.t.Helper()
	before, repeated := counted(), r.repeated(r.Client)
	result := r.Connect(r.Client, f, source, n)
	require.Equal(r.t, n, result.Failures["refused"], "%s: %s", f, result)
	more := counted() - before
	require.GreaterOrEqual(r.t, more, uint64(n), "%s", f)
	require.LessOrEqual(r.t, more, uint64(n)+r.repeated(r.Client)-repeated, "%s", f)
}
