package ipt

import (
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// countForm is a line of "iptables-save -c".
var countForm = regexp.MustCompile(`^\[(\d+):\d+\] -A (\S+) (.*)$`)

// sentForm is a rule of a frontend's chains at which a connection is sent to a target, or found none.
var sentForm = regexp.MustCompile(`(?:-j DNAT --to-destination (\S+)|-g WEIR-NO-ENDPOINT|-g WEIR-HOLD)$`)

// counted is a rule of the table nat with the packets that came by: first ones of connections.
type counted struct {
	family      *family
	chain, rule string
	packets     uint64
}

// Counters are new connections by frontend and target, as this node sent them. All counts of a frontend begin anew when
// its chain is written: treat a falling value as a reset. Under the zero AddrPort are the connections that a frontend
// without a target refused or held, each retried SYN for itself. It, Refused and LocalCounts may be called while another goroutine
// reads and writes rules.
func (d *Driver) Counters(ctx context.Context) (map[cluster.Frontend]map[netip.AddrPort]uint64, error) {
	counts := map[cluster.Frontend]map[netip.AddrPort]uint64{}
	return counts, d.count(ctx, func(c counted, frontend cluster.Frontend) {
		m := sentForm.FindStringSubmatch(c.rule)
		if m == nil || !frontend.VIP.IsValid() {
			return
		}
		target, err := netip.ParseAddrPort(m[1])
		if err != nil && m[1] != "" {
			return
		}
		if counts[frontend] == nil {
			counts[frontend] = map[netip.AddrPort]uint64{}
		}
		counts[frontend][target] += c.packets
	})
}

// Refused are the attempts of clients that a guarded frontend does not admit, each retried SYN for itself. They begin
// anew when the frontend's chain is written.
func (d *Driver) Refused(ctx context.Context) (map[cluster.Frontend]uint64, error) {
	counts := map[cluster.Frontend]uint64{}
	return counts, d.count(ctx, func(c counted, frontend cluster.Frontend) {
		if frontend.VIP.IsValid() && c.rule == "-g WEIR-REFUSED" {
			counts[frontend] = c.packets
		}
	})
}

// LocalCounts are the new connections to each instance of this node, from wherever they come and whether or not through a VIP.
func (d *Driver) LocalCounts(ctx context.Context) (map[cluster.Listener]uint64, error) {
	counts := map[cluster.Listener]uint64{}
	return counts, d.count(ctx, func(c counted, _ cluster.Frontend) {
		if l, ok := c.family.parseListener(c.rule); ok && c.chain == localChain {
			counts[l] = c.packets
		}
	})
}

// count lists the rules of nat with what came by; the frontend is that of the rule's chain, if it is one of a frontend.
func (d *Driver) count(ctx context.Context, each func(counted, cluster.Frontend)) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	for _, f := range families {
		text, err := d.saved(ctx, d.programs, d.variant, f, nat, "-c")
		if err != nil {
			return fmt.Errorf("count: %w", err)
		}
		lines, frontends := f.counts(text)
		for _, line := range lines {
			each(line, frontends[keyIn(line.chain)])
		}
	}
	return nil
}

// counts reads a listing, and whose the keys in the names of chains are.
func (f *family) counts(text string) (lines []counted, frontends map[string]cluster.Frontend) {
	frontends = map[string]cluster.Frontend{}
	for line := range strings.Lines(text) {
		m := countForm.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil || !strings.HasPrefix(m[2], ours) {
			continue
		}
		packets, _ := strconv.ParseUint(m[1], 10, 64)
		lines = append(lines, counted{f, m[2], m[3], packets})
		if frontend, ok := f.parseEntry(m[3]); ok {
			frontends[keyOf(frontend)] = frontend
		}
	}
	return lines, frontends
}

// keyIn is the key in the name of a frontend's chain, as in WEIR-F-0123456789abc-12.
func keyIn(chain string) string {
	key, _ := strings.CutPrefix(strings.Replace(chain, "-T-", "-F-", 1), "WEIR-F-")
	key, _, _ = strings.Cut(key, "-")
	return key
}
