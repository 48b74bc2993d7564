package nft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// How damage is mended.
type (
	mendTable struct { // make the whole table anew
		family *family
		exists bool
	}
	mendChain struct { // make it, or write its rules anew
		family *family
		spec   chainSpec
		rehook bool // it hooks into the wrong place: delete it first
		exists bool
	}
	mendSet struct { // make it, or empty it; its elements are then missing, and come with the plan
		family  *family
		spec    setSpec
		missing bool
	}
	dropChain struct {
		family *family
		name   string
	}
	dropSet struct {
		family *family
		name   string
	}
	dropObject struct {
		family *family
		name   string
		kind   nftables.ObjType
	}
	dropFlowtable struct {
		family *family
		name   string
	}
	dropElement struct {
		family  *family
		set     string
		element nftables.SetElement
	}
)

// Read dumps our tables. A table without a sound frame counts as absent: it is made anew with everything in it.
func (d *Driver) Read(ctx context.Context) (*rules.State, error) {
	state := rules.NewState()
	for _, f := range families {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := d.readFamily(f, state); err != nil {
			return nil, fmt.Errorf("read table %s %s: %w", f.name, tableName, err)
		}
	}
	slices.SortFunc(state.Local, cluster.Listener.Compare)
	for i := range state.Sets {
		slices.SortFunc(state.Sets[i], func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	}
	d.doubted = false
	return state, nil
}

func (d *Driver) readFamily(f *family, state *rules.State) error {
	d.known[f] = map[string]bool{}
	table, err := d.find(f)
	if err != nil {
		return err
	}
	if table != nil && d.claims {
		if err := d.claim(f, table); err != nil {
			return err
		}
	}
	r := reading{d: d, f: f, table: table, state: rules.NewState(), missing: map[string]bool{}}
	why, err := r.all()
	if err != nil {
		if errors.As(err, new(*netlink.OpError)) || errors.As(err, new(syscall.Errno)) {
			return err
		}
		// Not the kernel failed but the reading of what it said: somebody put in what we have no words for.
		why = "cannot be understood: " + err.Error()
	}
	if why != "" {
		r.state = rules.NewState()
		r.damage("table", "", why, mendTable{f, table != nil})
	}
	state.Damage = append(state.Damage, r.state.Damage...)
	for i := range state.Sets {
		state.Sets[i] = append(state.Sets[i], r.state.Sets[i]...)
	}
	state.Local = append(state.Local, r.state.Local...)
	maps.Copy(state.Placed, r.state.Placed)
	return nil
}

// all reads the whole table, or says why it has to be made anew.
func (r *reading) all() (why string, err error) {
	if why, err := r.unsound(); err != nil || why != "" {
		return why, err
	}
	if why, err := r.chains(); err != nil || why != "" {
		return why, err
	}
	if err := r.others(); err != nil {
		return "", err
	}
	return r.elements()
}

// reading is the reading of one table.
type reading struct {
	d     *Driver
	f     *family
	table *nftables.Table
	state *rules.State

	missing map[string]bool // sets that are not there
}

func (r *reading) damage(kind, name, what string, mend any) {
	object := strings.TrimSpace(fmt.Sprintf("%s %s %s", r.f.name, kind, name))
	if name == "" {
		object = fmt.Sprintf("table %s %s", r.f.name, tableName)
	}
	r.state.Damage = append(r.state.Damage, rules.Damage{Object: object, What: what, Mend: mend})
}

// unsound says why the table has to be made anew, or "". It also finds sets that are not ours.
func (r *reading) unsound() (string, error) {
	switch owned := r.table != nil && r.table.Flags&nftables.TableFlagOwner != 0; {
	case r.table == nil:
		return "missing", nil
	case r.d.doubted:
		return "could not be repaired", nil
	case r.d.owning && !owned:
		return "belongs to nobody, although the kernel could protect it", nil
	case r.table.Flags&nftables.TableFlagDormant != 0:
		return "switched off", nil
	}
	sets, err := r.d.conn.GetSets(r.table)
	if err != nil {
		return "", fmt.Errorf("list sets: %w", classify(err))
	}
	byName := map[string]*nftables.Set{}
	for _, s := range sets {
		byName[s.Name] = s
	}
	for _, spec := range r.f.specs {
		have := byName[spec.name]
		if have == nil {
			// Rules that look something up keep it from being deleted, so this table is an older version's.
			r.missing[spec.name] = true
			r.damage("set", spec.name, "missing", mendSet{r.f, spec, true})
			continue
		}
		if !sameSet(have, spec) {
			return "set " + spec.name + " has another type", nil
		}
		delete(byName, spec.name)
	}
	for _, s := range sets {
		if byName[s.Name] != nil && !s.Anonymous {
			r.damage("set", s.Name, "is not ours", dropSet{r.f, s.Name})
		}
	}
	return "", nil
}

// others finds what we never make in a table.
func (r *reading) others() error {
	objects, err := r.d.conn.GetNamedObjects(r.table)
	if err != nil {
		return fmt.Errorf("list objects: %w", classify(err))
	}
	for _, o := range objects {
		if named, ok := o.(*nftables.NamedObj); ok {
			r.damage("object", named.Name, "is not ours", dropObject{r.f, named.Name, named.Type})
		}
	}
	flowtables, err := r.d.conn.ListFlowtables(r.table)
	if err != nil {
		return fmt.Errorf("list flowtables: %w", classify(err))
	}
	for _, t := range flowtables {
		r.damage("flowtable", t.Name, "is not ours", dropFlowtable{r.f, t.Name})
	}
	return nil
}

// chains compares the frame and the balancer chains with what they should be, or says why the table has to be made anew.
func (r *reading) chains() (why string, err error) {
	all, err := r.d.conn.ListChainsOfTableFamily(r.f.table)
	if err != nil {
		return "", fmt.Errorf("list chains: %w", classify(err))
	}
	have := map[string]*nftables.Chain{}
	for _, c := range all {
		if c.Table.Name == tableName {
			have[c.Name] = c
		}
		if n, ok := parseLayout(c.Name); ok && c.Table.Name == tableName && n > layout {
			return fmt.Sprintf("was written by a newer version (layout %d, this one writes %d)", n, layout), nil
		}
	}
	for _, spec := range r.f.chains() {
		if err := r.chain(have[spec.name], spec); err != nil {
			return "", err
		}
		delete(have, spec.name)
	}
	for name, chain := range have {
		spec, ok := r.f.onNeed(name)
		if !ok {
			r.damage("chain", name, "is not ours", dropChain{r.f, name})
			continue
		}
		r.d.known[r.f][name] = true
		if err := r.chain(chain, spec); err != nil {
			return "", err
		}
	}
	return "", nil
}

func (r *reading) chain(have *nftables.Chain, want chainSpec) error {
	if have == nil {
		r.damage("chain", want.name, "missing", mendChain{family: r.f, spec: want})
		return nil
	}
	if !sameHook(have, want.hook) {
		r.damage("chain", want.name, "hooks into the wrong place", mendChain{r.f, want, true, true})
		return nil
	}
	have.Table = r.table
	found, err := r.d.conn.GetRules(r.table, have)
	if err != nil {
		return fmt.Errorf("list rules of chain %s: %w", want.name, classify(err))
	}
	for i := range max(len(found), len(want.rules)) {
		what := ""
		switch {
		case i >= len(found):
			what = fmt.Sprintf("rule %d is missing", i+1)
		case i >= len(want.rules):
			what = fmt.Sprintf("rule %d is not ours", i+1)
		case !sameRule(found[i].Exprs, want.rules[i]):
			what = fmt.Sprintf("rule %d differs", i+1)
		default:
			continue
		}
		r.damage("chain", want.name, what, mendChain{r.f, want, false, true})
		return nil
	}
	return nil
}

// elements reads what the maps and sets hold, or says why the table has to be made anew.
func (r *reading) elements() (why string, err error) {
	for _, spec := range r.f.specs {
		if r.missing[spec.name] || spec.flags&dynamic != 0 {
			continue
		}
		found, err := r.d.conn.GetSetElements(spec.set(r.table))
		if err != nil {
			return "", fmt.Errorf("list elements of %s: %w", spec.name, classify(err))
		}
		if spec.flags&counter != 0 && slices.ContainsFunc(found, func(e nftables.SetElement) bool { return e.Counter == nil }) {
			return "set " + spec.name + " does not count", nil
		}
		r.set(spec, found)
	}
	for f, placed := range r.state.Placed {
		slices.SortFunc(placed.Sources, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
		r.state.Placed[f] = placed
	}
	return "", nil
}

// set reads what one set holds. That of services comes before those that say more of a frontend.
func (r *reading) set(spec setSpec, found []nftables.SetElement) {
	if spec.holding {
		prefixes, err := spec.prefixes(found)
		if err != nil {
			r.damage("set", spec.name, "holds "+err.Error(), mendSet{r.f, spec, false})
			return
		}
		r.state.Sets[spec.ofSet] = append(r.state.Sets[spec.ofSet], prefixes...)
		return
	}
	switch spec.name {
	case "services", "guards":
		r.leads(spec.name, found)
	case "sources":
		r.sources(found)
	case "local":
		r.local(found)
	default:
		r.endpoints(spec, found)
	}
}

// leads reads where the entries, or the guard, lead.
func (r *reading) leads(set string, found []nftables.SetElement) {
	for _, e := range found {
		f, ok := r.f.parseFrontend(e.Key)
		if !ok {
			r.foreign(set, e)
			continue
		}
		placed, lead := r.state.Placed[f], parseLead(f, e.Val)
		if set == "guards" && lead.Guard {
			lead = rules.Lead{Mode: rules.Unknown}
		}
		switch {
		case set == "services":
			placed.Mode, placed.Size, placed.Guarded = lead.Mode, lead.Size, lead.Guard
		case placed.Guarded:
			placed.Mode, placed.Size = lead.Mode, lead.Size
		default:
			placed.Stale = lead
		}
		r.state.Placed[f] = placed
	}
}

func (r *reading) sources(found []nftables.SetElement) {
	for _, e := range found {
		f, p, ok := r.f.parseSource(e)
		if !ok {
			r.foreign("sources", e)
			continue
		}
		placed := r.state.Placed[f]
		placed.Sources = append(placed.Sources, p)
		r.state.Placed[f] = placed
	}
}

func (r *reading) local(found []nftables.SetElement) {
	for _, e := range found {
		f, ok := r.f.parseFrontend(e.Key)
		if !ok {
			r.foreign("local", e)
			continue
		}
		r.state.Local = append(r.state.Local, listenerOf(f))
	}
}

func (r *reading) endpoints(spec setSpec, found []nftables.SetElement) {
	slots := map[cluster.Frontend]int{}
	for _, e := range found {
		if f, slot, ok := r.f.parseSlot(e.Key); ok {
			slots[f] = max(slots[f], slot+1)
		}
	}
	for _, e := range found {
		f, slot, ok := r.f.parseSlot(e.Key)
		target, readable := r.f.parseTarget(e.Val)
		if !ok || !readable || endpointsName(shardOf(f)) != spec.name {
			r.foreign(spec.name, e)
			continue
		}
		placed := r.state.Placed[f]
		if placed.Slots == nil {
			placed.Slots = make([]netip.AddrPort, slots[f])
			r.state.Placed[f] = placed
		}
		placed.Slots[slot] = target
	}
}

func (r *reading) foreign(set string, e nftables.SetElement) {
	r.damage("map", set, fmt.Sprintf("holds a foreign element %x", e.Key), dropElement{r.f, set, nftables.SetElement{Key: e.Key, KeyEnd: e.KeyEnd}})
}
