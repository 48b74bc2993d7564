package nft

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/google/nftables"

	"github.com/weir-lb/weir/cluster"
)

// Counters are new connections by frontend and target, as this node sent them. A target's count falls when one of its
// slots is replaced, since a new element counts from zero: treat a falling value as a reset. Under the zero AddrPort are
// the connections that a frontend without a target refused, each retried SYN for itself.
//
// It dumps every slot (some 30 ms for 10,000 frontends of five): ask seldom. A Driver of its own, ReadOnly, lets it be
// called from another goroutine than the one that writes.
func (d *Driver) Counters(ctx context.Context) (map[cluster.Frontend]map[netip.AddrPort]uint64, error) {
	counts := map[cluster.Frontend]map[netip.AddrPort]uint64{}
	for _, f := range families {
		if err := d.countFamily(ctx, f, counts); err != nil {
			return nil, fmt.Errorf("count in table %s %s: %w", f.name, tableName, err)
		}
	}
	return counts, nil
}

func (d *Driver) countFamily(ctx context.Context, f *family, counts map[cluster.Frontend]map[netip.AddrPort]uint64) error {
	table, err := d.find(f)
	if err != nil || table == nil {
		return err
	}
	for _, spec := range f.specs {
		if spec.flags&counter == 0 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		elements, err := d.conn.GetSetElements(spec.set(table))
		if err != nil {
			return fmt.Errorf("list elements of %s: %w", spec.name, classify(err))
		}
		for _, e := range elements {
			frontend, target, ok := f.counted(spec, e)
			if !ok || e.Counter == nil {
				continue
			}
			if counts[frontend] == nil {
				counts[frontend] = map[netip.AddrPort]uint64{}
			}
			counts[frontend][target] += e.Counter.Packets
		}
	}
	return nil
}

// counted is what an element counts: new connections to a target, or refused ones.
func (f *family) counted(spec setSpec, e nftables.SetElement) (cluster.Frontend, netip.AddrPort, bool) {
	frontend, ok := f.parseFrontend(e.Key)
	if spec.name == "services" {
		return frontend, netip.AddrPort{}, ok && chainOf(e.Val) == "no-endpoint"
	}
	target, readable := f.parseTarget(e.Val)
	return frontend, target, ok && readable
}
