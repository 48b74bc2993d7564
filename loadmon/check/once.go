package check

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Once asks an instance one time whether it is well, for who waits until it is ready; nil: it is. Where there is no check, or
// one that does not connect, it is enough that the address accepts; a port of 0, where nothing is listened on by TCP, is
// taken as well.
func Once(ctx context.Context, c *cluster.Check, at netip.AddrPort) error {
	connects := task{check: c}
	if !connects.connects() {
		c = &cluster.Check{TCP: &cluster.TCPCheck{}}
	}
	if at.Port() == 0 {
		return nil
	}
	full := c.WithDefaults()
	if deadline, ok := ctx.Deadline(); ok {
		full.Timeout = min(full.Timeout, cluster.Duration(time.Until(deadline)))
	}
	if o := run(ctx, task{check: &full, address: at}); o.Kind != Good {
		return errors.New(o.Reason)
	}
	return nil
}
