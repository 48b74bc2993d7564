package loadmon

import (
	"cmp"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Policy is what an operator sets for one service.
type Policy struct {
	Blend int           // 0..100: how much of a weight follows the load; the rest is the file's. 100 by default
	Soft  time.Duration // an instance that is slower than this, and than its fellows, slowly loses weight; 100 ms by default
	Hard  time.Duration // an instance that is slower than this three times in a row, or twelve while it is busy, is ejected; 1 s by default

	Wishes bool // instances say themselves what part of their weight they want
	Tells  bool // instances say themselves how busy they are: the figures of one that does not cannot be compared with the others'
}

// DefaultPolicy follows the load fully.
func DefaultPolicy() Policy {
	return Policy{Blend: cluster.DefaultBlend, Soft: time.Duration(cluster.DefaultSoft), Hard: time.Duration(cluster.DefaultHard)}
}

// sound is the policy with what cannot be replaced by the nearest that can. The operator was told when the service was published
// (cluster.Service.Validate).
func (p Policy) sound() Policy {
	d := DefaultPolicy()
	p.Blend = min(max(p.Blend, 0), 100)
	p.Soft = cmp.Or(max(p.Soft, 0), d.Soft)
	p.Hard = max(cmp.Or(max(p.Hard, 0), d.Hard), p.Soft)
	return p
}
