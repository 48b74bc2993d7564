package nft

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/weir-lb/weir/cluster"
)

// LocalCounts are the new connections to this node's own instances, from wherever they come. A count falls when its
// element is made anew: treat a falling value as a reset. It dumps one set, which has an element for each of these
// instances. A Driver of its own, ReadOnly, lets it be called from another goroutine than the one that writes.
func (d *Driver) LocalCounts(ctx context.Context) (map[cluster.Listener]uint64, error) {
	counts := map[cluster.Listener]uint64{}
	for _, f := range families {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := d.countLocal(f, counts); err != nil {
			return nil, fmt.Errorf("count in table %s %s: %w", f.name, tableName, err)
		}
	}
	return counts, nil
}

func (d *Driver) countLocal(f *family, counts map[cluster.Listener]uint64) error {
	table, err := d.find(f)
	if err != nil || table == nil {
		return err
	}
	for _, spec := range f.specs {
		if spec.name != "local" {
			continue
		}
		elements, err := d.conn.GetSetElements(spec.set(table))
		if err != nil {
			return fmt.Errorf("list elements of %s: %w", spec.name, classify(err))
		}
		for _, e := range elements {
			if at, ok := f.parseFrontend(e.Key); ok && e.Counter != nil {
				counts[cluster.Listener{Address: netip.AddrPortFrom(at.VIP, at.Port), Proto: at.Proto}] += e.Counter.Packets
			}
		}
	}
	return nil
}
