package rules

import (
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
// (NSDI 2016), section 3.4: each target walks the table by a permutation of its own and takes the next free slot in its
// turn; turns come in proportion to the weight. It is a pure function of the targets, so that all nodes agree, and a
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

// walk visits every slot of a table of prime size once, in an order of its own.
type walk struct{ at, step, size int }

func newWalk(target netip.AddrPort, size int) walk {
	return walk{
		at:   int(hash(target, 0x9e3779b97f4a7c15) % uint64(size)),
		step: int(hash(target, 0xc2b2ae3d27d4eb4f)%uint64(size-1)) + 1,
		size: size,
	}
}

func (w *walk) next() int {
	at := w.at
	w.at = (w.at + w.step) % w.size
	return at
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
