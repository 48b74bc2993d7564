package check

import (
	"context"
	"time"

	"github.com/weir-lb/weir/internal/runner"
)

// judging is how often Judge looks whether something is known by now.
const judging = 20 * time.Millisecond

// Judge has every instance of this node that nothing is known of yet looked at at once, and returns when something is known of
// each, or the context ends. It is for a node that comes back: an instance of which no socket was ever seen here may have ended
// with the node, so that it is tried by a connection, which is otherwise done only for those whose socket has gone.
func (c *Checker) Judge(ctx context.Context) {
	for c.doubt() > 0 && runner.Sleep(ctx, judging) {
	}
}

// doubt says of how many instances nothing is known yet that can be known.
func (c *Checker) doubt() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for _, s := range c.subjects {
		switch {
		case !s.own || s.judged:
			continue
		case s.runs():
			if s.index >= 0 && s.at > now {
				c.due.set(s, now)
			}
		case len(s.listeners) > 0 && c.o.Listening != nil:
			s.kernel.doubted = true
		default:
			continue
		}
		n++
	}
	c.hurry()
	return n
}
