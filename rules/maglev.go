package rules

import (
	"math/bits"
	"net/netip"

	"github.com/weir-lb/weir/cluster"
)

// The sizes of affinity tables: the largest primes below powers of two. A table has at least 20 slots for each target;
// few sizes, because a change of size moves every client.
var tableSizes = []int{251, 509, 1021, 2039, 4093, 8191, 16381, 32749}

func tableSize(targets int) int {
	for _, size := range tableSizes {
		if size >= 20*targets {
			return size
		}
	}
	return tableSizes[len(tableSizes)-1]
}

// maglev fills an affinity table after Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer"
// (NSDI 2016), section 3.4: each target walks the table in an order of its own and takes the next free slot in its turn;
// turns come in proportion to the weight. It is a pure function of the targets, so that all nodes agree, and a
// target that goes leaves most slots of the others where they were.
func maglev(targets []cluster.Target) []netip.AddrPort {
	size := tableSize(len(targets))
	table := make([]netip.AddrPort, size)
	walks := make([]walk, len(targets))
	heaviest := 0
	for i, t := range targets {
		walks[i] = newWalk(t.Address, size)
		heaviest = max(heaviest, t.Weight)
	}
	credit := make([]int, len(targets))
	for filled := 0; ; {
		for i, t := range targets {
			if credit[i] += t.Weight; credit[i] < heaviest {
				continue
			}
			credit[i] -= heaviest
			slot := walks[i].next()
			for table[slot].IsValid() {
				slot = walks[i].next()
			}
			table[slot] = t.Address
			if filled++; filled == size {
				return table
			}
		}
	}
}

// walk visits every slot of a table once, in an order of its own. The paper walks in equal steps; but then some pairs of
// targets get in each other's way all along the table, and one of three that goes can move six of ten clients of the
// others. So the order is a small Feistel cipher over the next power of four, without the numbers beyond the table.
type walk struct {
	keys [4]uint32
	half int // bits of each half
	size uint32
	at   uint32
}

func newWalk(target netip.AddrPort, size int) walk {
	a, b := hash(target, 0x9e3779b97f4a7c15), hash(target, 0xc2b2ae3d27d4eb4f)
	return walk{
		keys: [4]uint32{uint32(a), uint32(a >> 32), uint32(b), uint32(b >> 32)},
		half: (bits.Len(uint(size-1)) + 1) / 2, size: uint32(size),
	}
}

func (w *walk) next() int {
	for {
		left, right, mask := w.at>>w.half, w.at&(1<<w.half-1), uint32(1)<<w.half-1
		w.at++
		for _, key := range w.keys {
			mixed := (right ^ key) * 0x85ebca6b
			mixed = (mixed ^ mixed>>13) * 0xc2b2ae35
			left, right = right, left^(mixed^mixed>>16)&mask
		}
		if slot := left<<w.half | right; slot < w.size {
			return int(slot)
		}
	}
}

// hash is FNV-1a over address and port with the finalizer of MurmurHash3: fixed for all versions of the program, since
// every node and every release must fill the same table.
func hash(target netip.AddrPort, seed uint64) uint64 {
	h := uint64(14695981039346656037) ^ seed
	address := target.Addr().As16()
	for _, b := range append(address[:], byte(target.Port()>>8), byte(target.Port())) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
