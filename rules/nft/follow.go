package nft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// DefaultRate of Follow. A connection makes some 15 messages.
const DefaultRate = 100

// followBuffer holds the messages of some thousand connections.
const followBuffer = 4 << 20

// Follow has the kernel trace the first packets of connections to a frontend, by a table of its own that marks them. That
// table belongs to this process and goes with it, whatever happens (the flag owner without persist, Linux 5.12): nobody
// else's table is touched.
//
// It marks behind connection tracking, which knows what a first packet is, and before any translation. Two more chains of
// it have no rules: they stand at the end of a packet's way, where its headers say where it was sent and as whose.
func (d *Driver) Follow(ctx context.Context, o rules.FollowOptions, seen func(rules.Attempt)) (err error) {
	if o.Rate <= 0 {
		o.Rate = DefaultRate
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: d.netns})
	if err != nil {
		return fmt.Errorf("open the kernel's tracing: %w", classify(err))
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(followBuffer) // a smaller one loses messages sooner, and that is told
	if err := conn.JoinGroup(unix.NFNLGRP_NFTRACE); err != nil {
		return fmt.Errorf("open the kernel's tracing: %w", classify(err))
	}
	marks, err := d.mark(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, marks.remove(o)) }()
	if o.Ready != nil {
		o.Ready()
	}
	r := trail{family: marks.family, table: marks.table.Name, frontend: o.Frontend, open: map[uint32]*passage{}, seen: seen}
	return r.read(ctx, conn, o)
}

// marks is the table that marks packets for tracing.
type marks struct {
	conn   *nftables.Conn
	family *family
	table  *nftables.Table
	chains []*nftables.Chain
}

var tables atomic.Uint32 // so that one process may follow several frontends

// mark installs the table.
func (d *Driver) mark(o rules.FollowOptions) (*marks, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(d.netns))
	if err != nil {
		return nil, fmt.Errorf("open nftables socket: %w", classify(err))
	}
	f := familyOf(o.Frontend.VIP)
	m := &marks{conn: conn, family: f}
	m.table = conn.AddTable(&nftables.Table{
		Name: fmt.Sprintf("%s-trace-%d-%d", tableName, os.Getpid(), tables.Add(1)), Family: f.table, Flags: nftables.TableFlagOwner,
	})
	m.chain("prerouting", nftables.ChainHookPrerouting, -150)
	m.chain("output", nftables.ChainHookOutput, -150)
	for _, chain := range m.chains {
		conn.AddRule(&nftables.Rule{Table: m.table, Chain: chain, Exprs: f.marking(o)})
	}
	m.chain("input", nftables.ChainHookInput, 300)
	m.chain("postrouting", nftables.ChainHookPostrouting, 300)
	if err := conn.Flush(); err != nil {
		_ = conn.CloseLasting()
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
			return nil, fmt.Errorf("%w: this kernel has no tables that go with their process (Linux 5.12): %w", errors.ErrUnsupported, err)
		}
		return nil, fmt.Errorf("mark packets for tracing: %w", classify(err))
	}
	return m, nil
}

func (m *marks) chain(name string, hook *nftables.ChainHook, priority nftables.ChainPriority) {
	m.chains = append(m.chains, m.conn.AddChain(&nftables.Chain{
		Name: name, Table: m.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority,
	}))
}

// ipsConfirmed is IPS_CONFIRMED of linux/netfilter/nf_conntrack_common.h: all but the first packet of a connection.
const ipsConfirmed = 1 << 3

// marking counts the first packets of connections to a frontend, and marks so many of them; the second counter says how
// many it was.
func (f *family) marking(o rules.FollowOptions) []expr.Any {
	equal := func(load expr.Any, data []byte) exprs {
		return exprs{load, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
	}
	unconfirmed := append(exprs{}, ctFlag(expr.CtKeySTATUS, ipsConfirmed)...)
	unconfirmed[len(unconfirmed)-1] = &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)}
	return f.rule("",
		equal(f.addr(f.daddr, 1), o.Frontend.VIP.AsSlice()),
		f.protocol(uint8(o.Frontend.Proto)),
		equal(&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, binary.BigEndian.AppendUint16(nil, o.Frontend.Port)),
		unconfirmed,
		&expr.Counter{},
		&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(o.Rate), Unit: expr.LimitTimeSecond, Burst: uint32(o.Rate)},
		&expr.Counter{},
		exprs{&expr.Immediate{Register: 1, Data: []byte{1}}, &expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: 1}},
	).exprs
}

// remove takes the table away and tells what was left out by the rate.
func (m *marks) remove(o rules.FollowOptions) error {
	defer m.conn.CloseLasting() // takes the table away if nothing else did
	left := uint64(0)
	for _, chain := range m.chains[:2] {
		found, err := m.conn.GetRules(m.table, chain)
		if err != nil {
			return fmt.Errorf("read the trace's counters: %w", classify(err))
		}
		var counts []uint64
		for _, rule := range found {
			for _, e := range rule.Exprs {
				if c, ok := e.(*expr.Counter); ok {
					counts = append(counts, c.Packets)
				}
			}
		}
		if len(counts) == 2 {
			left += counts[0] - counts[1]
		}
	}
	m.conn.DelTable(m.table)
	if err := m.conn.Flush(); err != nil {
		return fmt.Errorf("remove table %s: %w", m.table.Name, classify(err))
	}
	if left > 0 && o.Missed != nil {
		o.Missed(fmt.Sprintf("%d more came than the %d a second that are looked at", left, o.Rate))
	}
	return nil
}

// trail puts the messages of each packet together.
type trail struct {
	family   *family
	table    string
	frontend cluster.Frontend
	open     map[uint32]*passage
	seen     func(rules.Attempt)
	last     time.Time     // when it was read last
	clock    time.Duration // how long it is read, see tick
}

// passage is a packet on its way.
type passage struct {
	rules.Attempt
	begun   time.Duration // by the trail's clock
	ours    bool          // our rules were asked: it is the first packet of a connection
	decided bool
}

// patience is how long a packet may take from hook to hook before it counts as lost in between, and beat the longest time
// from one reading to the next.
const (
	patience = time.Second
	beat     = patience / 4
)

func (r *trail) read(ctx context.Context, conn *netlink.Conn, o rules.FollowOptions) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	r.last = time.Now()
	for ctx.Err() == nil {
		_ = conn.SetReadDeadline(time.Now().Add(beat))
		if ctx.Err() != nil {
			break
		}
		messages, err := conn.Receive()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, unix.ENOBUFS):
			clear(r.open)
			if o.Missed != nil {
				o.Missed("the kernel's messages came faster than they could be read: some connections are missing")
			}
		case err != nil:
			return fmt.Errorf("read the kernel's trace: %w", err)
		}
		for _, m := range messages {
			t, ok, err := decodeTrace(m, r.family)
			if err != nil {
				return err
			}
			if ok {
				r.add(t)
			}
		}
		r.tick(time.Now())
	}
	return nil
}

// add takes one message in. Packets that others have marked do not begin in our chains.
func (r *trail) add(t traced) {
	p := r.open[t.id]
	switch {
	case t.table == r.table && (t.chain == "prerouting" || t.chain == "output"):
		if t.kind == unix.NFT_TRACETYPE_RULE && t.packet.valid() {
			r.open[t.id] = &passage{begun: r.clock, Attempt: rules.Attempt{At: time.Now(), Frontend: r.frontend, Client: t.packet.from, Local: t.chain == "output"}}
		}
	case p == nil:
	case t.table == r.table:
		if t.packet.valid() {
			p.arrive(t.packet)
			r.close(t.id)
		}
	case t.kind == unix.NFT_TRACETYPE_RULE && t.verdict != unix.NFT_CONTINUE, t.verdict == verdictDrop:
		p.step(t)
		if p.decided {
			r.close(t.id)
		}
	}
}

// step notes a rule that said something. Of other programs' tables the name is told too.
func (p *passage) step(t traced) {
	chain := t.chain
	if t.table != tableName {
		chain = t.table + " " + chain
	}
	p.ours = p.ours || t.table == tableName && t.chain == "dispatch"
	what := t.String()
	if t.verdict == verdictDrop {
		p.decided, p.Outcome = true, rules.Dropped
		if t.table == tableName && t.chain == "refuse" {
			p.Outcome, what = rules.Refused, "reject"
			if p.Frontend.Proto == cluster.TCP {
				what = "reject with tcp reset"
			}
		}
		if t.table == tableName && t.chain == holdName {
			p.Outcome = rules.Held
		}
	}
	p.Steps = append(p.Steps, rules.Step{Chain: chain, What: what})
}

// arrive is the end of a packet's way through this node.
func (p *passage) arrive(at packet) {
	p.Outcome = rules.Passes
	if to := at.to; to.Addr() != p.Frontend.VIP || to.Port() != p.Frontend.Port {
		p.Outcome, p.Target = rules.Sent, to
	}
	if at.from.Addr() != p.Client.Addr() { // else at most its port had to be another
		p.As = at.from
	}
}

func (r *trail) close(id uint32) {
	p := r.open[id]
	delete(r.open, id)
	if p.ours || p.Outcome == rules.Dropped {
		r.seen(p.Attempt)
	}
}

// tick tells of packets that left no further sign: a route was missing, or something that is no chain took them. The time in
// which this process did not run counts for next to nothing, since their messages wait in the socket meanwhile.
func (r *trail) tick(now time.Time) {
	r.clock += min(now.Sub(r.last), beat)
	r.last = now
	for id, p := range r.open {
		if r.clock-p.begun > patience {
			p.Outcome = rules.Unclear
			p.Steps = append(p.Steps, rules.Step{Chain: "-", What: "nothing more was seen of it: perhaps there is no route to where it was sent"})
			r.close(id)
		}
	}
}
