package chaos

import (
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
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

// frame is what nft lists of our tables, without what maps and sets hold, and in an order of its own: that of the kernel
// only tells what was made first.
func (r *run) frame(node *lab.Host) string {
	r.Helper()
	var blocks []string
	for _, family := range []string{"ip", "ip6"} {
		out, err := node.Output("nft", "-t", "-n", "list", "table", family, "weir")
		require.NoError(r, err)
		for block := range strings.SplitSeq(counters.ReplaceAllString(strings.TrimSuffix(strings.TrimSpace(string(out)), "}"), ""), "\n\n") {
			blocks = append(blocks, family+" "+strings.TrimSpace(block))
		}
	}
	slices.Sort(blocks)
	return strings.Join(blocks, "\n")
}

func (r *run) same(a, b map[cluster.Frontend]map[netip.AddrPort]int) bool {
	return reflect.DeepEqual(a, b)
}

// element finds slot 0 of a frontend as nft writes it: the map that it is in, its key, and what it leads to.
func (r *run) element(node *lab.Host, f cluster.Frontend) (set, key, data string) {
	r.Helper()
	out, err := node.Output("nft", "list", "table", "ip", "weir")
	require.NoError(r, err)
	slot := regexp.MustCompile(`(` + regexp.QuoteMeta(f.VIP.String()) + ` \. ` + f.Proto.String() + ` \. \d+ \. 0x00000000)(?: counter packets \d+ bytes \d+)? : (\S+ \. \d+)`)
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "map "); ok {
			set = strings.TrimSuffix(name, " {")
		}
		if found := slot.FindStringSubmatch(line); found != nil {
			return set, found[1], found[2]
		}
	}
	require.FailNow(r, "no slot of "+f.String(), string(out))
	return "", "", ""
}
