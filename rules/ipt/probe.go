package ipt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/coreos/go-iptables/iptables"

	"github.com/weir-lb/weir/rules"
)

// Variant is which of the two programs of the name iptables writes the rules. They look alike and write to different
// places in the kernel.
type Variant string

// The variants.
const (
	Auto   Variant = ""       // as the host's iptables is, unless all rules of others are in the other one
	NFT    Variant = "nft"    // iptables-nft: through nf_tables
	Legacy Variant = "legacy" // iptables-legacy: through the kernel's old interface
)

var variants = []Variant{NFT, Legacy}

// mode is what a program of a variant says of itself behind its version.
func (v Variant) mode() string {
	if v == NFT {
		return "nf_tables"
	}
	return "legacy"
}

// The oldest version that serves: it tells its variant, and its restore waits for the lock.
const oldestMajor, oldestMinor = 1, 8

// programs are the names of the programs of one variant by family.
type programs map[*family]string

func (p programs) save(f *family) string    { return p[f] + "-save" }
func (p programs) restore(f *family) string { return p[f] + "-restore" }

// prepare finds the programs. What a host lacks may come while we run, so it is looked for until it is found.
func (d *Driver) prepare(ctx context.Context) error {
	d.search.Lock()
	defer d.search.Unlock()
	if d.programs != nil {
		return nil
	}
	variant := d.asked
	if variant == Auto {
		var err error
		if variant, err = d.choose(ctx); err != nil {
			return err
		}
	}
	found, err := d.find(ctx, variant)
	if err != nil {
		return err
	}
	d.programs, d.variant = found, variant
	close(d.found)
	return nil
}

// find looks for the programs of a variant: under its own name, or as plain iptables.
func (d *Driver) find(ctx context.Context, variant Variant) (programs, error) {
	found := programs{}
	for _, f := range families {
		var errs []error
		for _, name := range []string{f.program + "-" + string(variant), f.program} {
			err := d.examine(ctx, f, name, variant)
			if err == nil {
				found[f] = name
				break
			}
			errs = append(errs, err)
		}
		if found[f] == "" {
			return nil, fmt.Errorf("find %s of the variant %s: %w", f.program, variant, errors.Join(errs...))
		}
	}
	return found, nil
}

// examine asks a program for its version and variant. The library takes no context, so it is asked only what a program
// tells that has just answered.
func (d *Driver) examine(ctx context.Context, f *family, name string, variant Variant) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return fmt.Errorf("install the package iptables: %w", err)
	}
	for _, also := range []string{name + "-save", name + "-restore"} {
		if _, err := exec.LookPath(also); err != nil {
			return fmt.Errorf("install the package iptables: %w", err)
		}
	}
	said, err := d.run(ctx, "", name, "--version")
	if err != nil {
		return err
	}
	protocol := iptables.ProtocolIPv4
	if f == families[1] {
		protocol = iptables.ProtocolIPv6
	}
	program, err := iptables.New(iptables.IPFamily(protocol), iptables.Path(path), iptables.Timeout(lockWait))
	if err != nil {
		return fmt.Errorf("%s --version says %q, which is no version of iptables: %w", name, strings.TrimSpace(said), err)
	}
	major, minor, patch := program.GetIptablesVersion()
	switch {
	case major < oldestMajor || major == oldestMajor && minor < oldestMinor:
		return fmt.Errorf("%s is version %d.%d.%d, which is too old: %d.%d or newer is needed", name, major, minor, patch, oldestMajor, oldestMinor)
	case !strings.Contains(said, "("+variant.mode()+")"):
		return fmt.Errorf("%s is of another variant: %s", name, strings.TrimSpace(said))
	}
	return nil
}

// choose takes the variant of the host's own iptables, for that is where its administrator looks. Only where others have
// rules in the other one and none in this one, theirs is taken: two variants on one host are hard to follow.
func (d *Driver) choose(ctx context.Context) (Variant, error) {
	var installed []Variant
	var errs []error
	for _, v := range variants {
		if _, err := d.find(ctx, v); err != nil {
			errs = append(errs, err)
			continue
		}
		installed = append(installed, v)
	}
	switch len(installed) {
	case 0:
		return "", errors.Join(errs...)
	case 1:
		return installed[0], nil
	}
	usual := NFT
	if said, err := d.run(ctx, "", families[0].program, "--version"); err == nil && strings.Contains(said, "("+Legacy.mode()+")") {
		usual = Legacy
	}
	used, err := d.inUse(ctx)
	if err != nil {
		return "", err
	}
	for _, v := range variants {
		if v != usual && used[v] > 0 && used[usual] == 0 {
			return v, nil
		}
	}
	return usual, nil
}

// Mixed says whether rules of iptables-legacy and of iptables-nft are in use at once in the namespace of the caller, ours
// included: both decide over each packet, and the listing of one does not show the other's. It is "" where they are not.
func Mixed(ctx context.Context) (string, error) { return mixedIn(ctx, New(Options{})) }

func mixedIn(ctx context.Context, d *Driver) (string, error) {
	used, err := d.inUse(ctx)
	if err != nil || used[NFT] == 0 || used[Legacy] == 0 {
		return "", err
	}
	return fmt.Sprintf("%d rules of iptables-nft and %d of iptables-legacy are in use at once", used[NFT], used[Legacy]), nil
}

// inUse counts the rules in the tables nat and filter by variant. Neither kind of table is made by looking.
func (d *Driver) inUse(ctx context.Context) (map[Variant]int, error) {
	used := map[Variant]int{}
	for _, v := range variants {
		found, err := d.find(ctx, v)
		if err != nil {
			continue // a variant that cannot be asked
		}
		for _, f := range families {
			for _, table := range tables {
				text, err := d.saved(ctx, found, v, f, table)
				if errors.Is(err, rules.ErrPermission) {
					return nil, err
				}
				used[v] += strings.Count("\n"+text, "\n-A ")
			}
		}
	}
	return used, nil
}

// saved is the listing of a table. A table of iptables-legacy that nobody made is not asked for: the question would make it.
func (d *Driver) saved(ctx context.Context, p programs, v Variant, f *family, table string, flags ...string) (string, error) {
	if v == Legacy {
		made, err := d.made(f, table)
		if err != nil || !made {
			return "", err
		}
	}
	text, err := d.run(ctx, "", append([]string{p.save(f), "-t", table}, flags...)...)
	if err != nil {
		return "", fmt.Errorf("list table %s of %s: %w", table, f.program, err)
	}
	return text, nil
}

// made says whether iptables-legacy has a table.
func (d *Driver) made(f *family, table string) (made bool, err error) {
	err = d.inside(func() error {
		names, err := os.ReadFile("/proc/thread-self/net/" + f.names)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		for name := range strings.FieldsSeq(string(names)) {
			made = made || name == table
		}
		return err
	})
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w: %w", rules.ErrPermission, err)
	}
	return made, err
}
