package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"

	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/underway"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/ipt"
	"github.com/weir-lb/weir/rules/nft"
)

// driverFlags choose what writes the kernel's rules. Empty values are auto.
type driverFlags struct {
	driver   string
	iptables string
}

func (d *driverFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&d.driver, "driver", "auto", "what writes the rules: nft, ipt (iptables), or auto: nft where the kernel has nf_tables")
	flags.StringVar(&d.iptables, "iptables", "auto", "which iptables the driver ipt uses: nft, legacy, or auto: the host's own")
}

func (d *driverFlags) check() error {
	var errs []error
	if !slices.Contains([]string{"", "auto", "nft", "ipt"}, d.driver) {
		errs = append(errs, fmt.Errorf("--driver %q: use auto, nft or ipt", d.driver))
	}
	if !slices.Contains([]string{"", "auto", "nft", "legacy"}, d.iptables) {
		errs = append(errs, fmt.Errorf("--iptables %q: use auto, nft or legacy", d.iptables))
	}
	if d.driver == "nft" && d.variant() != ipt.Auto {
		errs = append(errs, fmt.Errorf("--iptables %s is for the driver ipt: leave it out, or use --driver ipt", d.iptables))
	}
	if err := errors.Join(errs...); err != nil {
		return &usageError{err}
	}
	return nil
}

// program is the iptables that writes the rules; empty where nft does.
func (d *driverFlags) program() string {
	switch {
	case d.driver != "ipt":
		return ""
	case d.variant() == ipt.Auto:
		return "iptables"
	}
	return "iptables-" + d.iptables
}

func (d *driverFlags) variant() ipt.Variant {
	if d.iptables == "auto" {
		return ipt.Auto
	}
	return ipt.Variant(d.iptables)
}

// driver is what the program asks of a driver beyond its contract.
type driver interface {
	rules.Driver
	// Owning says whether the kernel keeps our rules from everybody else.
	Owning() bool
	Counters(ctx context.Context) (map[cluster.Frontend]map[netip.AddrPort]uint64, error)
	LocalCounts(ctx context.Context) (map[cluster.Listener]uint64, error)
	Close() error
}

// noTables says whether a driver makes the tables of source affinity itself.
func noTables(d driver) bool { return d.Name() == "ipt" }

// write opens the driver that an agent works with, and says why it is this one. What iptables lacks on this host is told
// by the first reading, not here: an agent waits for it.
func (d *driverFlags) write(ownership nft.Ownership) (driver, string, error) {
	if err := d.check(); err != nil {
		return nil, "", err
	}
	if d.driver == "ipt" {
		return ipt.New(ipt.Options{Variant: d.variant()}), "--driver ipt", nil
	}
	n, err := nft.New(nft.Options{Ownership: ownership})
	switch {
	case err == nil && d.driver == "nft":
		return n, "--driver nft", nil
	case err == nil:
		return n, "the kernel has nf_tables", nil
	case d.driver == "nft" || errors.Is(err, rules.ErrPermission):
		return nil, "", err
	}
	return ipt.New(ipt.Options{Variant: d.variant()}), err.Error(), nil
}

// look opens the driver whose rules the kernel holds, for commands that change nothing. Without a word of the user that
// is not always the one that a new agent would take.
func (d *driverFlags) look(ctx context.Context) (driver, *rules.State, error) {
	if err := d.check(); err != nil {
		return nil, nil, err
	}
	var none driver
	var empty *rules.State
	var errs []error
	for _, open := range d.candidates() {
		candidate, err := open()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		state, err := candidate.Read(ctx)
		switch {
		case err != nil:
			errs = append(errs, err, candidate.Close())
			continue
		case len(state.Placed) > 0 || len(state.Sets[rules.VIPs]) > 0 || len(state.Damage) == 0:
			if none != nil {
				_ = none.Close()
			}
			return candidate, state, nil
		case none == nil:
			none, empty = candidate, state
		default:
			_ = candidate.Close()
		}
	}
	if none != nil {
		return none, empty, nil
	}
	return nil, nil, errors.Join(errs...)
}

// candidates are the drivers that may have written the rules, the likeliest first.
func (d *driverFlags) candidates() (out []func() (driver, error)) {
	if d.driver != "ipt" {
		out = append(out, func() (driver, error) { return nft.New(nft.Options{Ownership: nft.ReadOnly}) })
	}
	if d.driver != "nft" {
		for _, v := range d.variants() {
			out = append(out, func() (driver, error) { return ipt.New(ipt.Options{Variant: v}), nil })
		}
	}
	return out
}

func (d *driverFlags) variants() []ipt.Variant {
	if v := d.variant(); v != ipt.Auto {
		return []ipt.Variant{v}
	}
	return []ipt.Variant{ipt.NFT, ipt.Legacy}
}

// remains are the drivers that may have left something in the kernel. A driver that the host does not have has not, unless
// it was asked for.
func (d *driverFlags) remains(ownership nft.Ownership) (out []driver, err error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.driver != "ipt" {
		n, err := nft.New(nft.Options{Ownership: ownership})
		if err == nil {
			out = append(out, n)
		} else if d.driver == "nft" || errors.Is(err, rules.ErrPermission) {
			return nil, err
		}
	}
	if d.driver == "nft" {
		return out, nil
	}
	for _, v := range d.variants() {
		i := ipt.New(ipt.Options{Variant: v})
		err := i.Probe(context.Background())
		if err == nil {
			out = append(out, i)
		} else if d.variant() != ipt.Auto {
			return nil, err
		}
	}
	return out, nil
}

// others removes what the drivers that were not chosen have left in the kernel. Until then both translate, which is
// harmless: the first translation of a connection counts, and both know the same targets.
func others(chosen driver) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := underway.Passed(ctx); err != nil { // else a packet that came before the new hooks could miss the old ones, too
			return err
		}
		var errs []error
		if _, isNFT := chosen.(*nft.Driver); !isNFT {
			if n, err := nft.New(nft.Options{}); err == nil { // owning, since what an owner left behind only an owner removes
				errs = append(errs, n.Clean(ctx), n.Close())
			}
		}
		used := ipt.Auto
		if i, isIPT := chosen.(*ipt.Driver); isIPT {
			used = i.Variant()
		}
		for _, v := range []ipt.Variant{ipt.NFT, ipt.Legacy} {
			if v == used {
				continue
			}
			if err := ipt.New(ipt.Options{Variant: v}).Clean(ctx); !errors.Is(err, exec.ErrNotFound) {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	}
}

// hostProblems are what the host's other rules mean for ours.
func hostProblems(chosen driver) func(context.Context) []cluster.Problem {
	if _, isIPT := chosen.(*ipt.Driver); !isIPT {
		return nil
	}
	return func(ctx context.Context) []cluster.Problem {
		mixed, err := ipt.Mixed(ctx)
		if err != nil || mixed == "" {
			return nil // what cannot be read is told by the driver itself
		}
		return []cluster.Problem{{Object: "node", Field: "iptables", What: "the host mixes two kinds of iptables, and neither lists the other's rules: " + mixed,
			Fix: "move all rules to one kind (update-alternatives --config iptables), or choose with --iptables"}}
	}
}
