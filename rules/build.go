package rules

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// built is what Build keeps of one service, to undo it when the service changes.
type built struct {
	inputs    *cluster.Inputs
	frontends []cluster.Frontend
	vips      []netip.Addr
	hairpin   []netip.Addr
	local     []cluster.Listener
	problems  []cluster.Problem
	size      size
	asleep    int // 1: the service sleeps
}

// size counts slots: as they should be, and as they are on a node that is over its budget.
type size struct{ loose, tight int }

func (s size) plus(t size) size  { return size{s.loose + t.loose, s.tight + t.tight} }
func (s size) minus(t size) size { return size{s.loose - t.loose, s.tight - t.tight} }

func (o Options) over(s size) bool { return s.loose > cmp.Or(o.Budget, DefaultBudget) }

// Build decides what the kernel should hold for a snapshot. It builds on an earlier result (nil: from scratch) and then
// costs what changed since; the result is the same either way.
func Build(prev *Ruleset, snapshot *cluster.Snapshot, options Options) *Ruleset {
	place := snapshot.Place(options.Node)
	if prev == nil || !prev.options.equal(options) || prev.place != place {
		prev = &Ruleset{snapshot: &cluster.Snapshot{}, options: options, place: place}
	}
	next, spanning := prev.advance(snapshot, prev.options.over(prev.size))
	if next.options.over(next.size) != prev.options.over(prev.size) {
		// The budget was crossed: every weighted service changes its size, so this is one of the rare full builds.
		scratch := &Ruleset{snapshot: &cluster.Snapshot{}, options: options, place: place}
		next, _ = scratch.advance(snapshot, next.options.over(next.size))
		spanning = true // the budget's problem comes or goes, and the scratch cannot tell which services went
	}
	if spanning || snapshot.Config != prev.snapshot.Config || prev.Revision == 0 {
		next.span()
	} else {
		next.Sets, next.Local, next.Problems = prev.Sets, prev.Local, prev.Problems
	}
	return next
}

func (o Options) equal(p Options) bool {
	return o.Budget == p.Budget && o.Node == p.Node && o.Ping == p.Ping && o.NoTables == p.NoTables && o.NoHold == p.NoHold &&
		slices.Equal(o.KeepSource, p.KeepSource) && slices.Equal(o.Links, p.Links)
}

// advance rebuilds the services that changed since r, and says whether anything changed that spans the services.
func (r *Ruleset) advance(snapshot *cluster.Snapshot, tight bool) (next *Ruleset, spanning bool) {
	next = &Ruleset{Revision: snapshot.Revision, snapshot: snapshot, place: r.place, options: r.options, size: r.size, asleep: r.asleep}
	balancers, services := r.Balancers.Edit(), r.services.Edit()
	var changed []*cluster.Inputs
	// All old frontends go before any new one comes: a frontend may pass from one service to another.
	for name, inputs := range cluster.Changed(r.snapshot.Services, snapshot.Services) {
		if old, ok := r.services.Get(name); ok {
			for _, f := range old.frontends {
				balancers.Delete(f)
			}
			next.size, next.asleep = next.size.minus(old.size), next.asleep-old.asleep
			services.Delete(name)
			spanning = spanning || inputs[1] == nil
		}
		if inputs[1] != nil {
			changed = append(changed, inputs[1])
		}
	}
	for _, inputs := range changed {
		service := r.build(inputs, tight, balancers)
		services.Set(inputs.Service.Name, service)
		next.size, next.asleep = next.size.plus(service.size), next.asleep+service.asleep
		old, _ := r.services.Get(inputs.Service.Name)
		spanning = spanning || !service.spansLike(old)
	}
	next.Balancers, next.services = balancers.Map(), services.Map()
	return next, spanning
}

// spansLike says whether two forms of a service mean the same for what spans the services.
func (b *built) spansLike(old *built) bool {
	return old != nil && slices.Equal(b.vips, old.vips) && slices.Equal(b.hairpin, old.hairpin) &&
		slices.Equal(b.local, old.local) && slices.Equal(b.problems, old.problems)
}

// build resolves one service and sets its balancers. A balancer that did not change keeps its pointer.
func (r *Ruleset) build(inputs *cluster.Inputs, tight bool, into *cluster.MapEdit[cluster.Frontend, *Balancer]) *built {
	resolved := cluster.Resolve(inputs)
	out := &built{inputs: inputs, frontends: resolved.Frontends, problems: append(resolved.Problems, resolved.Misplaced(r.place)...)}
	out.local = resolved.On(r.options.Node)
	if resolved.Asleep() && len(resolved.Frontends) > 0 {
		out.asleep = 1
	}
	for _, f := range resolved.Frontends {
		if !slices.Contains(out.vips, f.VIP) {
			out.vips = append(out.vips, f.VIP)
		}
		near, _ := resolved.Near(f, r.place)
		next, loose := r.options.lay(resolved.Service, merge(near), tight)
		if out.asleep > 0 && !r.options.NoHold {
			next.Mode = Hold
		}
		if next.Guarded = resolved.Service.Guarded(); next.Guarded {
			next.Sources = disjoint(resolved.Service.SourcesOf(f.VIP))
		}
		if old, ok := r.Balancers.Get(f); ok && old.equal(next) {
			next = old
		}
		into.Set(f, next)
		out.size = out.size.plus(size{loose: loose, tight: next.Slots()})
		for _, share := range next.Shares {
			if a := share.Target.Addr(); contains(r.options.KeepSource, a) && !slices.Contains(out.hairpin, a) {
				out.hairpin = append(out.hairpin, a)
			}
		}
	}
	return out
}

// lay lays out the targets of one frontend and says how many slots it has on a node that is within its budget.
func (o Options) lay(service *cluster.Service, targets []cluster.Target, tight bool) (b *Balancer, loose int) {
	if b = (&Balancer{Service: service.Name, Mode: Random}); len(targets) == 0 {
		b.Mode = Refuse
		return b, 0
	}
	if service.Affinity == cluster.AffinitySource {
		b.Mode = Source
	}
	if b.Mode == Source && !o.NoTables {
		size, least := affinitySlots(len(targets))
		if loose = size; tight {
			size = least
		}
		b.Table = affinityTable(targets, size)
		counts := map[netip.AddrPort]int{}
		for _, target := range b.Table {
			counts[target]++
		}
		for _, t := range targets {
			b.Shares = append(b.Shares, Share{t.Address, counts[t.Address]})
		}
		return b, loose
	}
	weights := make([]int, len(targets))
	for i, t := range targets {
		weights[i] = t.Weight
	}
	slots, least := layout(weights, service.Balance == cluster.BalanceAdaptive)
	if loose = total(slots); tight {
		slots = least
	}
	for i, t := range targets {
		b.Shares = append(b.Shares, Share{t.Address, slots[i]})
	}
	return b, loose
}

// merge adds up the weights of instances that share an address and port.
func merge(targets []cluster.Target) []cluster.Target {
	var out []cluster.Target
	for _, t := range targets { // sorted by address
		if last := len(out) - 1; last >= 0 && out[last].Address == t.Address {
			out[last].Weight += t.Weight
			continue
		}
		out = append(out, t)
	}
	return out
}

func total(slots []int) (n int) {
	for _, s := range slots {
		n += s
	}
	return n
}

func (b *Balancer) equal(c *Balancer) bool {
	return b.Service == c.Service && b.Mode == c.Mode && slices.Equal(b.Shares, c.Shares) && slices.Equal(b.Table, c.Table) &&
		b.Guarded == c.Guarded && slices.Equal(b.Sources, c.Sources)
}

// span derives what spans the services: a pass over all of them, and rare.
func (r *Ruleset) span() {
	pools := r.pools()
	vips, hairpins, own := slices.Clone(pools), []netip.Prefix(nil), []netip.Prefix(nil)
	for _, service := range r.services.All() {
		for _, vip := range service.vips {
			own = append(own, host(vip))
			if !contains(pools, vip) {
				vips = append(vips, host(vip))
			}
		}
		for _, a := range service.hairpin {
			hairpins = append(hairpins, host(a))
		}
		r.Local = append(r.Local, service.local...)
		r.Problems = append(r.Problems, service.problems...)
	}
	slices.SortFunc(r.Local, cluster.Listener.Compare)
	r.Local = slices.Compact(r.Local)
	r.Sets[VIPs] = disjoint(vips)
	r.Sets[Hairpin] = disjoint(hairpins)
	if r.Sets[KeepSource] = disjoint(r.options.KeepSource); len(r.options.KeepSource) > 0 {
		r.Sets[SameLink] = disjoint(r.options.Links)
	}
	if r.options.Ping {
		r.Sets[Pingable] = disjoint(own)
	}
	if r.options.over(r.size) {
		r.Problems = append(r.Problems, cluster.Problem{
			// Without the number that is wanted: it would change with every service.
			Object: "node", What: fmt.Sprintf("the services need more than the budget of %d slots, so weights are approximated more coarsely", cmp.Or(r.options.Budget, DefaultBudget)),
			Fix: "use fewer different weights, or raise the budget",
		})
	}
	slices.SortFunc(r.Problems, cluster.Problem.Compare)
}

// pools are the VIP pools that can be used; the others are reported, and VIPs in them stand in the set one by one. Every
// address of a pool is refused that is no frontend, so a pool that reaches over real hosts must not get into the kernel.
func (r *Ruleset) pools() (pools []netip.Prefix) {
	if r.snapshot.Config == nil {
		return nil
	}
	bad := map[string]bool{}
	for _, p := range r.snapshot.Config.Validate(nil) {
		bad[p.Field] = true
		r.Problems = append(r.Problems, p)
	}
	for i, pool := range r.snapshot.Config.VIPPools {
		if !bad[fmt.Sprintf("vip_pools[%d]", i)] {
			pools = append(pools, pool)
		}
	}
	return pools
}

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// disjoint sorts prefixes and leaves out those that another one covers. Interval sets of the kernel need it: a delete
// inside a present range would silently delete the range. An address inside its network is taken for the network, and
// what is no prefix at all is left out: the kernel would refuse the whole transaction.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	sorted := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		sorted = append(sorted, p.Masked())
	}
	slices.SortFunc(sorted, comparePrefixes)
	var out []netip.Prefix
	for _, p := range sorted {
		if last := len(out) - 1; p.IsValid() && (last < 0 || !out[last].Overlaps(p)) {
			out = append(out, p)
		}
	}
	return out
}
