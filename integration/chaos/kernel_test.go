package chaos

import (
	"regexp"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
)

// counters change with every packet.
var counters = regexp.MustCompile(`packets \d+ bytes \d+`)

// ruleset is all that nft lists on a node, without the counters' values.
func (r *run) ruleset(node *lab.Host) string {
	r.Helper()
	out, err := node.Output("nft", "-n", "list", "ruleset")
	require.NoError(r, err)
	return counters.ReplaceAllString(string(out), "")
}
