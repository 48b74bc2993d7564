package cluster

import (
	"cmp"
	"hash/fnv"
	"slices"
)

// observers is how many nodes check an instance that runs on no node of ours; the majority of them counts.
const observers = 3

// Observers are the nodes that may check instances on hosts without an agent. It is immutable; nil has none.
type Observers struct {
	names  []string // sorted
	hashes []uint64
}

// NewObservers takes the names of nodes; one that comes twice counts once.
func NewObservers(names []string) *Observers {
	o := &Observers{names: slices.Compact(slices.Sorted(slices.Values(names)))}
	for _, n := range o.names {
		o.hashes = append(o.hashes, hashOf(n))
	}
	return o
}

// Names of all of them, sorted.
func (o *Observers) Names() []string {
	if o == nil {
		return nil
	}
	return o.names
}

// Of chooses those that check one instance: three, or all where there are fewer. The choice is the same on every node. Each
// node's claim is its own (rendezvous hashing), so that one that comes or goes moves only what becomes or was its own.
func (o *Observers) Of(service, instance string) []string {
	key := hashOf(service + "\x00" + instance)
	type claim struct {
		score uint64
		name  string
	}
	best := make([]claim, 0, observers+1)
	for i, name := range o.Names() {
		c := claim{mix(key ^ o.hashes[i]), name}
		if len(best) == observers && best[observers-1].score >= c.score {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, c, func(a, b claim) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.name, b.name)) })
		if best = slices.Insert(best, at, c); len(best) > observers {
			best = best[:observers]
		}
	}
	out := make([]string, 0, observers)
	for _, c := range best {
		out = append(out, c.name)
	}
	return out
}

func hashOf(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return mix(h.Sum64())
}

// mix spreads every bit over all others, as the end of splitmix64 does.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
