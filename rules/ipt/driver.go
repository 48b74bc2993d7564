package ipt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weir-lb/weir/rules"
)

// Options of a Driver.
type Options struct {
	Variant Variant
	NetNS   int           // file descriptor of a network namespace; 0: that of the caller
	Limit   time.Duration // for one run of a program; 0: DefaultLimit
}

// Driver writes iptables. It is not safe for concurrent use, except for Watch.
type Driver struct {
	asked    Variant
	variant  Variant
	netns    int
	limit    time.Duration
	lock     int           // seconds
	buffer   int           // bytes of notices that may wait for Watch
	search   sync.Mutex    // held while the programs are looked for: whoever counts may be the first to need them
	programs programs      // nil: not found so far
	found    chan struct{} // closed when programs is set

	mu      sync.Mutex // guards what follows: Watch tells our own changes from others'
	pids    []int      // of the last programs that we ran
	writing bool
	sizes   map[place]size // of the tables of iptables-legacy, as we left them
}

// New makes a driver. The programs are looked for when they are first needed: a host may get them later.
func New(o Options) *Driver {
	return &Driver{
		asked: o.Variant, netns: o.NetNS, limit: cmp.Or(o.Limit, DefaultLimit), lock: lockWait, buffer: noticeBuffer,
		found: make(chan struct{}), sizes: map[place]size{},
	}
}

// Close leaves the rules as they are.
func (d *Driver) Close() error { return nil }

// Name is ipt.
func (d *Driver) Name() string { return "ipt" }

// Variant says which iptables writes the rules; Auto: it is not known yet.
func (d *Driver) Variant() Variant {
	select {
	case <-d.found:
		return d.variant
	default:
		return Auto
	}
}

// Owning is never so: iptables rules belong to nobody.
func (d *Driver) Owning() bool { return false }

// Probe finds the programs, and says what the host lacks.
func (d *Driver) Probe(ctx context.Context) error { return d.prepare(ctx) }

// Apply writes a plan. A frontend's chains are exchanged as a whole within one transaction of the table nat, so the phases
// of a plan are one here. Families, and the tables of one family, are transactions of their own: when one fails after
// another has passed, the kernel holds something else than remembered, and that is what the error says.
func (d *Driver) Apply(ctx context.Context, plan *rules.Plan) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	defer d.writes()()
	passed := false
	for _, f := range families {
		payload := payloadFor(f, plan).text(tables...)
		if payload == "" {
			continue
		}
		if err := d.restore(ctx, d.programs, f, payload, passed); err != nil {
			return fmt.Errorf("write rules: %w", err)
		}
		passed = true
	}
	return nil
}

// restore writes into one family; passed says whether something was written before.
func (d *Driver) restore(ctx context.Context, p programs, f *family, payload string, passed bool) error {
	_, err := d.run(ctx, payload, p.restore(f), "--noflush", "-w", fmt.Sprint(d.lock))
	var failed *failure
	if errors.As(err, &failed) {
		failed.locate(payload)
		failed.partial = passed || failed.partial
	}
	return err
}

// Clean removes what is ours and nothing else, in both variants unless one was asked for: first the way to it, then the chains.
func (d *Driver) Clean(ctx context.Context) error {
	if d.asked != Auto {
		if err := d.prepare(ctx); err != nil {
			return err
		}
		return d.clean(ctx, d.programs, d.variant)
	}
	cleaned := false
	for _, v := range variants {
		found, err := d.find(ctx, v)
		if err != nil {
			continue // a variant that the host does not have holds nothing of ours
		}
		cleaned = true
		if err := d.clean(ctx, found, v); err != nil {
			return err
		}
	}
	if !cleaned {
		return d.prepare(ctx)
	}
	return nil
}

func (d *Driver) clean(ctx context.Context, p programs, v Variant) error {
	for _, f := range families {
		b := newPayload(f)
		for _, table := range []string{nat, filter} { // what leads to a refusal goes before what refuses
			text, err := d.saved(ctx, p, v, f, table)
			if err != nil {
				return err
			}
			have := parseListing(table, text)
			for _, h := range f.hooks() {
				for range count(have[h.parent], h) {
					b.delta(table, "-D "+h.parent+" "+h.rule)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(have)) {
				if strings.HasPrefix(name, ours) {
					b.drop(table, name)
				}
			}
		}
		payload := b.text(nat, filter)
		if payload == "" {
			continue
		}
		if err := d.restore(ctx, p, f, payload, false); err != nil {
			return fmt.Errorf("remove rules: %w", err)
		}
	}
	return nil
}

// count is how often a hook is in its chain.
func count(have []string, h hook) (n int) {
	for _, rule := range have {
		if rule == h.rule {
			n++
		}
	}
	return n
}
