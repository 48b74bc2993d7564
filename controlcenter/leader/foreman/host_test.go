package foreman

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/controlcenter/placement"
	"github.com/weir-lb/weir/loadmon"
)

// A node whose figures are not known yet is no cool one to which instances should move.
func TestHeatsOfWhatIsKnown(t *testing.T) {
	t.Parallel()
	f := New(Config{Hosts: func() map[string]Host {
		return map[string]Host{"n1": {HostLoad: loadmon.HostLoad{Processors: 2, CPU: 0.9}}, "n2": {HostLoad: loadmon.HostLoad{Processors: 2}}}
	}})
	require.Equal(t, map[string]placement.Heat{"n1": {Busy: 0.9}}, f.heats())
	require.Empty(t, New(Config{}).heats())
}
