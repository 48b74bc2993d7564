package nft

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/google/nftables"

	"github.com/weir-lb/weir/cluster"
)

// Counters are new connections by frontend and target, as this node sent them. A target's count falls when one of its
// slots is replaced, since a new element counts from zero: treat a falling value as a reset. Under the zero AddrPort are
// the connections that a frontend without a target refused or held, each retried SYN for itself.
//
// It dumps every slot (some 30 ms for 10,000 frontends of five): ask seldom. It, Refused and LocalCounts may be called
// while another goroutine reads and writes rules.
func (d *Driver) Counters(ctx context.Context) (map[cluster.Frontend]map[netip.AddrPort]uint64, error) {
	counts := map[cluster.Frontend]map[netip.AddrPort]uint64{}
	return counts, d.count(ctx, sends, func(f *family, spec setSpec, e nftables.SetElement) {
		frontend, target, ok := f.sent(spec, e)
		if !ok {
			return
		}
		if counts[frontend] == nil {
			counts[frontend] = map[netip.AddrPort]uint64{}
		}
		counts[frontend][target] += e.Counter.Packets
	})
}

// Refused are the attempts of clients that a guarded frontend does not admit, each retried SYN for itself. The kernel
// counts on, also while nobody is left to refuse.
func (d *Driver) Refused(ctx context.Context) (map[cluster.Frontend]uint64, error) {
	counts := map[cluster.Frontend]uint64{}
	return counts, d.count(ctx, named("refused"), func(f *family, _ setSpec, e nftables.SetElement) {
		if frontend, ok := f.parseFrontend(e.Key); ok {
			counts[frontend] = e.Counter.Packets
		}
	})
}

// LocalCounts are the new connections to each instance of this node, from wherever they come and whether or not through a
// VIP. A count falls when its element is made anew: treat a falling value as a reset.
func (d *Driver) LocalCounts(ctx context.Context) (map[cluster.Listener]uint64, error) {
	counts := map[cluster.Listener]uint64{}
	return counts, d.count(ctx, named("local"), func(f *family, _ setSpec, e nftables.SetElement) {
		if frontend, ok := f.parseFrontend(e.Key); ok {
			counts[listenerOf(frontend)] = e.Counter.Packets
		}
	})
}

func named(name string) func(setSpec) bool { return func(s setSpec) bool { return s.name == name } }

// sends says whether the elements of a set are passed on the way to a target.
func sends(s setSpec) bool {
	return s.name == "services" || s.name == "guards" || s.typeof != ""
}

// countSocket is the socket for counting, opened when it is first needed. It is another one than that of reading and writing:
// two who ask by one socket get each other's answers, and whoever waited for its turn would hold up a pass.
type countSocket struct {
	mu   sync.Mutex
	conn *nftables.Conn
}

func (c *countSocket) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	return c.conn.CloseLasting()
}

// count looks at the elements of some sets of both tables.
func (d *Driver) count(ctx context.Context, wanted func(setSpec) bool, each func(*family, setSpec, nftables.SetElement)) error {
	d.counts.mu.Lock()
	defer d.counts.mu.Unlock()
	if d.counts.conn == nil {
		conn, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(d.netns))
		if err != nil {
			return fmt.Errorf("open nftables socket: %w", classify(err))
		}
		d.counts.conn = conn
	}
	for _, f := range families {
		if err := countFamily(ctx, d.counts.conn, f, wanted, each); err != nil {
			return fmt.Errorf("count in table %s %s: %w", f.name, tableName, err)
		}
	}
	return nil
}

func countFamily(ctx context.Context, conn *nftables.Conn, f *family, wanted func(setSpec) bool, each func(*family, setSpec, nftables.SetElement)) error {
	table, err := findBy(conn, f)
	if err != nil || table == nil {
		return err
	}
	for _, spec := range f.specs {
		if !wanted(spec) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		elements, err := conn.GetSetElements(spec.set(table))
		if err != nil {
			return fmt.Errorf("list elements of %s: %w", spec.name, classify(err))
		}
		for _, e := range elements {
			if e.Counter != nil {
				each(f, spec, e)
			}
		}
	}
	return nil
}

// sent is what an element counts: new connections to a target, or those that found none.
func (f *family) sent(spec setSpec, e nftables.SetElement) (cluster.Frontend, netip.AddrPort, bool) {
	frontend, ok := f.parseFrontend(e.Key)
	if spec.typeof == "" {
		chain := chainOf(e.Val)
		return frontend, netip.AddrPort{}, ok && (chain == "no-endpoint" || chain == holdName)
	}
	target, readable := f.parseTarget(e.Val)
	return frontend, target, ok && readable
}
