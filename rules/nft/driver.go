package nft

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"

	"github.com/weir-lb/weir/internal/underway"
	"github.com/weir-lb/weir/rules"
)

// Ownership says whether the tables shall belong to this process.
type Ownership string

// The kinds of ownership.
const (
	OwnAuto  Ownership = "auto" // where the kernel can (Linux 6.9), else as off
	OwnOff   Ownership = "off"  // never: tables are plain, foreign changes are noticed and repaired
	ReadOnly Ownership = "read" // for looking only: nothing is claimed
)

// Options of a Driver.
type Options struct {
	Ownership Ownership // default OwnAuto
	NetNS     int       // file descriptor of a network namespace; 0: that of the calling thread
}

// Driver writes nftables. It is not safe for concurrent use, except for Watch.
type Driver struct {
	conn    *nftables.Conn // one lasting socket: a table belongs to the socket that made it
	portID  uint32
	netns   int
	owning  bool
	claims  bool
	known   map[*family]map[string]bool // the balancer chains that are there
	doubted bool                        // a repair failed: the next Read asks for whole tables
	buffer  int                         // bytes of notices that may wait for Watch
	counts  countSocket
	tells   func() error // whether the kernel can tell of packets
}

// New opens the driver's socket and finds out what the kernel can do. Without CAP_NET_ADMIN it fails with
// rules.ErrPermission.
func New(o Options) (*Driver, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(o.NetNS))
	if err != nil {
		return nil, fmt.Errorf("open nftables socket: %w", classify(err))
	}
	d := &Driver{conn: conn, netns: o.NetNS, claims: o.Ownership != ReadOnly, known: map[*family]map[string]bool{}, buffer: noticeBuffer}
	d.tells = d.canTell
	if d.portID, err = conn.GetPortID(); err != nil {
		return nil, fmt.Errorf("ask for own port: %w", err)
	}
	if err := d.probe(); err != nil {
		_ = conn.CloseLasting()
		return nil, err
	}
	d.owning = (o.Ownership == OwnAuto || o.Ownership == "") && d.canOwn()
	return d, nil
}

// Close gives the tables up without touching them. When it returns without an error another process can have them.
func (d *Driver) Close() error {
	err := errors.Join(d.conn.CloseLasting(), d.counts.close())
	if d.owning {
		err = errors.Join(err, released(d.netns, d.portID))
	}
	return err
}

// Name is nft.
func (d *Driver) Name() string { return "nft" }

// Owning says whether the tables belong to this process, so that nobody else can change them.
func (d *Driver) Owning() bool { return d.owning }

// Apply writes a plan in its transactions (see rules.Phases), in one where a family's table is made anew.
func (d *Driver) Apply(ctx context.Context, plan *rules.Plan) error {
	if err := d.mayHold(plan); err != nil {
		return err
	}
	for phase := range rules.Phases {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := newBatch(d)
		if phase == 0 {
			b.repair(plan.Repairs)
			b.sets(plan.Sets)
			b.local(plan.Local)
		}
		b.changes(plan, phase)
		if phase == rules.Phases-1 {
			b.doomed = plan.Repairs
		}
		if err := b.flush(); err != nil {
			d.doubted = d.doubted || len(plan.Repairs) > 0
			return err
		}
	}
	d.doubted = d.doubted && len(plan.Repairs) == 0
	return nil
}

// Clean deletes both tables. A table that belongs to a living process cannot be deleted: rules.ErrOwned.
//
// First nothing leads to their rules any more, and then they go: of a table that is deleted, the kernel takes away what maps hold
// before a packet that is in its chains has come out of them. Such a packet would find no service at an address that sets still
// hold, and be refused, although another driver's rules know where to send it.
func (d *Driver) Clean(ctx context.Context) error {
	var ours []*family
	for _, f := range families {
		table, err := d.find(f)
		if err != nil {
			return err
		}
		if table == nil {
			continue
		}
		if err := d.claim(f, table); err != nil {
			return err
		}
		if err := d.unhook(table); err != nil {
			return err
		}
		ours = append(ours, f)
	}
	if len(ours) == 0 {
		return nil
	}
	if err := underway.Passed(ctx); err != nil {
		return err
	}
	for _, f := range ours {
		d.conn.DelTable(&nftables.Table{Name: tableName, Family: f.table})
		if err := d.conn.Flush(); err != nil {
			return fmt.Errorf("delete table %s %s: %w", f.name, tableName, classify(err))
		}
		delete(d.known, f)
	}
	return nil
}

// unhook empties the chains of a table that translate.
func (d *Driver) unhook(table *nftables.Table) error {
	chains, err := d.conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return fmt.Errorf("list chains: %w", classify(err))
	}
	for _, c := range chains {
		if c.Table.Name == tableName && (c.Name == "prerouting" || c.Name == "output") {
			d.conn.FlushChain(c)
		}
	}
	if err := d.conn.Flush(); err != nil {
		return fmt.Errorf("empty the hooks of table %s: %w", tableName, classify(err))
	}
	return nil
}

// find is our table of a family, or nil.
func (d *Driver) find(f *family) (*nftables.Table, error) { return findBy(d.conn, f) }

func findBy(conn *nftables.Conn, f *family) (*nftables.Table, error) {
	tables, err := conn.ListTablesOfFamily(f.table)
	if err != nil {
		return nil, fmt.Errorf("list tables of family %s: %w", f.name, classify(err))
	}
	i := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == tableName && t.Family == f.table })
	if i < 0 {
		return nil, nil
	}
	return tables[i], nil
}

// claim takes over a table that a dead process left behind, so that nobody changes it between reading and writing. Such
// a table has the persist flag and no owner. It fails with rules.ErrOwned if the owner lives.
func (d *Driver) claim(f *family, table *nftables.Table) error {
	switch {
	case table.Owner != 0 && table.Owner != d.portID:
		return fmt.Errorf("table %s %s belongs to netlink port %d (usually its process id): %w", f.name, tableName, table.Owner, rules.ErrOwned)
	case table.Owner == d.portID || table.Flags&nftables.TableFlagPersist == 0 || !d.owning:
		return nil
	}
	owned := d.conn.AddTable(d.tableOf(f, true))
	if err := d.conn.Flush(); err != nil {
		return fmt.Errorf("take over table %s %s: %w", f.name, tableName, classify(err))
	}
	table.Flags = owned.Flags
	return nil
}

func (d *Driver) tableOf(f *family, owned bool) *nftables.Table {
	table := &nftables.Table{Name: tableName, Family: f.table}
	if owned {
		table.Flags = nftables.TableFlagOwner | nftables.TableFlagPersist
	}
	return table
}
