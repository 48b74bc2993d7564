package loadmon

import (
	"cmp"
	"fmt"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Policy is what an operator sets for one service.
type Policy struct {
	Blend int           // 0..100: how much of a weight follows the load; the rest is the file's. 100 by default
	Soft  time.Duration // an instance that is slower than this, and than its fellows, slowly loses weight; 100 ms by default
	Hard  time.Duration // an instance that is slower than this three times in a row is ejected; 1 s by default

	Wishes bool // instances say themselves what part of their weight they want
	Tells  bool // instances say themselves how busy they are: the figures of one that does not cannot be compared with the others'
}

// DefaultPolicy follows the load fully.
func DefaultPolicy() Policy {
	return Policy{Blend: cluster.DefaultBlend, Soft: time.Duration(cluster.DefaultSoft), Hard: time.Duration(cluster.DefaultHard)}
}

// Validate reports every mistake.
func (p Policy) Validate(service string) []cluster.Problem {
	c := complaints{object: "service " + service}
	if p.Blend < 0 || p.Blend > 100 {
		c.add("blend", fmt.Sprintf("%d is outside 0..100", p.Blend), "0 keeps the file's weights, 100 follows the load")
	}
	if p.Soft < 0 || p.Hard < 0 {
		c.add("latency", "a limit is negative", "write a duration such as 100ms; leave it out for the default")
	} else if d := DefaultPolicy(); cmp.Or(p.Hard, d.Hard) < cmp.Or(p.Soft, d.Soft) {
		c.add("latency", fmt.Sprintf("the hard limit %s is below the soft limit %s", cmp.Or(p.Hard, d.Hard), cmp.Or(p.Soft, d.Soft)), "raise the hard limit")
	}
	return c.list()
}

// sound is the policy with what cannot be replaced by the nearest that can. The operator was told by Validate.
func (p Policy) sound() Policy {
	d := DefaultPolicy()
	p.Blend = min(max(p.Blend, 0), 100)
	p.Soft = cmp.Or(max(p.Soft, 0), d.Soft)
	p.Hard = max(cmp.Or(max(p.Hard, 0), d.Hard), p.Soft)
	return p
}
