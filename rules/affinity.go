package rules

import (
	"cmp"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// An affinity table says for each slot, which stands for a part of all client addresses, which target its clients meet. It
// is a pure function of the targets, so that all nodes agree; whole numbers only, so that all processors do. It is filled
// by rendezvous: each slot has an order of its own of all targets, in which heavier ones tend to be earlier, and takes
// the first; the clients of a target that goes then move on, and nobody else's. Alone that is uneven. So a target that
// too many slots want keeps those that want it most, and the others go on to their next; and one that too few want takes
// those that want it most from targets that can spare them.

// affinitySlots is how many slots n targets share, on a node that is within its budget and on one that is over it. Up to
// 102 targets it does not depend on their number: another size is another table, and moves every client.
func affinitySlots(n int) (loose, tight int) { return ceilPow2(max(2048, 20*n)), steadySlots(n) }

// most and least are what a target with this part of the weight may have: a tenth more or a fifth less than its part, but
// neither by more than a hundredth of all slots.
func most(weight, sum, size int) int {
	return min((11*weight*size+10*sum-1)/(10*sum), (weight*size+sum-1)/sum+size/100)
}

func least(weight, sum, size int) int {
	return max(1, 4*weight*size/(5*sum), weight*size/sum-size/100)
}

// claim is how a slot stands to a target: the lower the distance, the earlier.
type claim struct {
	slot     int
	distance uint64
}

func (c claim) compare(d claim) int {
	return cmp.Or(cmp.Compare(c.distance, d.distance), cmp.Compare(c.slot, d.slot))
}

// rendezvous is one table in the making.
type rendezvous struct {
	targets []cluster.Target
	keys    []uint64
	holds   [][]claim // by target, nearest first
}

// affinityTable fills a table of a size that is at least the number of targets.
func affinityTable(targets []cluster.Target, size int) []netip.AddrPort {
	r, sum := newRendezvous(targets), 0
	for _, t := range targets {
		sum += t.Weight
	}
	for slot := range size {
		r.settle(slot, sum, size)
	}
	r.feed(sum, size)
	table := make([]netip.AddrPort, size)
	for i, list := range r.holds {
		for _, c := range list {
			table[c.slot] = targets[i].Address
		}
	}
	return table
}

// AffinityTable is the table of a driver that makes its own: it follows from how many slots each target has, which must be
// no more targets than the size.
func AffinityTable(shares []Share, size int) []netip.AddrPort {
	targets := make([]cluster.Target, len(shares))
	for i, s := range shares {
		targets[i] = cluster.Target{Address: s.Target, Weight: s.Slots}
	}
	return affinityTable(targets, size)
}

func newRendezvous(targets []cluster.Target) *rendezvous {
	r := &rendezvous{targets: targets, keys: make([]uint64, len(targets)), holds: make([][]claim, len(targets))}
	for i, t := range targets {
		r.keys[i] = hash(t.Address, 0x9e3779b97f4a7c15)
	}
	return r
}

// settle finds a place for a slot; where it pushes another one out, also for that one. In what order slots come does not
// matter in the end.
func (r *rendezvous) settle(slot, sum, size int) {
	for at := (claim{slot: slot}); ; {
		to, c := r.next(at)
		list := r.holds[to]
		i, _ := slices.BinarySearchFunc(list, c, claim.compare)
		list = slices.Insert(list, i, c)
		r.holds[to] = list
		last := len(list) - 1
		if last < most(r.targets[to].Weight, sum, size) {
			return
		}
		at = list[last]
		r.holds[to] = list[:last]
	}
}

// next is the target that a slot is nearest to among those farther than it has tried.
func (r *rendezvous) next(tried claim) (to int, c claim) {
	c.distance = 1<<64 - 1
	for i := range r.targets {
		if d := r.distance(tried.slot, i); d > tried.distance && d < c.distance {
			to, c = i, claim{tried.slot, d}
		}
	}
	return to, c
}

// distance is -log2 of a hash over the weight, the exponential draw of weighted rendezvous. Its last bits keep two targets
// from standing alike.
func (r *rendezvous) distance(slot, target int) uint64 {
	h := mixed(r.keys[target] + uint64(slot)*0x9e3779b97f4a7c15)
	return negativeLog(h)/uint64(r.targets[target].Weight)<<10 | uint64(target)&1023
}

// feed brings targets that hold too little up to the least, in the order of their addresses.
func (r *rendezvous) feed(sum, size int) {
	for i, t := range r.targets {
		if len(r.holds[i]) >= least(t.Weight, sum, size) {
			continue
		}
		for _, c := range r.wanted(i) {
			if len(r.holds[i]) >= least(t.Weight, sum, size) {
				break
			}
			r.take(c, i, func(j int) bool { return len(r.holds[j]) > least(r.targets[j].Weight, sum, size) })
		}
	}
}

// wanted are the slots that others hold, those first that are nearest to a target.
func (r *rendezvous) wanted(target int) (out []claim) {
	for j, list := range r.holds {
		for _, c := range list {
			if j != target {
				out = append(out, claim{c.slot, r.distance(c.slot, target)})
			}
		}
	}
	slices.SortFunc(out, claim.compare)
	return out
}

// take moves a slot to a target, if whoever holds it can spare it.
func (r *rendezvous) take(c claim, target int, spares func(int) bool) {
	for j, list := range r.holds {
		if i := slices.IndexFunc(list, func(d claim) bool { return d.slot == c.slot }); j != target && i >= 0 {
			if spares(j) {
				r.holds[j] = slices.Delete(list, i, i+1)
				r.holds[target] = append(r.holds[target], c)
			}
			return
		}
	}
}

// negativeLog is -log2(h / 2^64) in 40 bits behind the point, from a table of the octave with straight lines between.
func negativeLog(h uint64) uint64 {
	zeros := bits.LeadingZeros64(h | 1)
	mantissa := h << zeros // 1.x
	i := mantissa >> 55 & 255
	rest := mantissa >> 39 & 0xffff
	log := octave[i] + (octave[i+1]-octave[i])*rest>>16
	return uint64(zeros+1)<<40 - log
}

// octave is log2(1 + i/256) in 40 bits behind the point.
var octave = func() (table [257]uint64) {
	for i := range table {
		x := uint64(256+i) << 54 // 1 is 1<<62
		for bit := range 40 {
			high, low := bits.Mul64(x, x)
			x = high<<2 | low>>62
			if x >= 1<<63 {
				x >>= 1
				table[i] |= 1 << (39 - bit)
			}
		}
	}
	table[256] = 1 << 40
	return table
}()

// hash is FNV-1a over address and port with the finalizer of MurmurHash3: fixed for all versions of the program, since
// every node and every release must fill the same table.
func hash(target netip.AddrPort, seed uint64) uint64 {
	h := uint64(14695981039346656037) ^ seed
	address := target.Addr().As16()
	for _, b := range append(address[:], byte(target.Port()>>8), byte(target.Port())) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return mixed(h)
}

// mixed is the finalizer of MurmurHash3.
func mixed(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
