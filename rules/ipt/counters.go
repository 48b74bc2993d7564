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

// counted is a line of "iptables-save -c" that counts connections of a frontend.
var counted = regexp.MustCompile(`^\[(\d+):\d+\] -A WEIR-[FT]-([0-9a-v]{13})\S* .*(?:-j DNAT --to-destination (\S+)|-g WEIR-NO-ENDPOINT)$`)

// Counters are new connections by frontend and target, as this node sent them. All counts of a frontend begin anew when
// its chain is written: treat a falling value as a reset. Under the zero AddrPort are the connections that a frontend
// without a target refused, each retried SYN for itself.
func (d *Driver) Counters(ctx context.Context) (map[cluster.Frontend]map[netip.AddrPort]uint64, error) {
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	counts := map[cluster.Frontend]map[netip.AddrPort]uint64{}
	for _, f := range families {
		if d.variant == Legacy {
			if made, err := d.made(f, nat); err != nil || !made {
				continue
			}
		}
		text, err := d.run(ctx, "", d.programs.save(f), "-c", "-t", nat)
		if err != nil {
			return nil, fmt.Errorf("count: %w", err)
		}
		f.count(text, counts)
	}
	return counts, nil
}

func (f *family) count(text string, counts map[cluster.Frontend]map[netip.AddrPort]uint64) {
	frontends := map[string]cluster.Frontend{} // by key
	for line := range strings.Lines(text) {
		_, rule, _ := strings.Cut(strings.TrimSpace(line), "] -A ")
		_, rule, _ = strings.Cut(rule, " ")
		if frontend, ok := f.parseEntry(rule); ok {
			frontends[keyOf(frontend)] = frontend
		}
	}
	for line := range strings.Lines(text) {
		m := counted.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		frontend, known := frontends[m[2]]
		target, err := netip.ParseAddrPort(m[3])
		if !known || err != nil && m[3] != "" {
			continue
		}
		packets, _ := strconv.ParseUint(m[1], 10, 64)
		if counts[frontend] == nil {
			counts[frontend] = map[netip.AddrPort]uint64{}
		}
		counts[frontend][target] += packets
	}
}
