package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/runner"
)

// routeNotices is how many bytes of notices may wait: some thousand, for where a routing daemon brings up a full table.
const routeNotices = 4 << 20

// watchRoutes kicks a pass when the node's addresses or our routes may have changed, and when notices were lost.
func (a *Agent) watchRoutes(ctx context.Context) error {
	for {
		err := a.routes.watch(ctx, a.syncer.Kick)
		if ctx.Err() != nil {
			return nil
		}
		a.c.Metrics.failures.WithLabelValues("watch routes").Inc()
		a.c.Logger.Error("watch routes", "err", err, "retry", time.Second)
		if !runner.Sleep(ctx, time.Second) {
			return nil
		}
		a.routes.doubt()
		a.syncer.Kick()
	}
}

// doubt has the next pass look at the routes, whatever was set last.
func (r *routes) doubt() { r.touched.Store(true) }

// watch kicks when something changed that our routes depend on, until the context ends; then it returns nil.
func (r *routes) watch(ctx context.Context, kick func()) error {
	outer := ctx
	ctx, cancel := context.WithCancel(ctx)
	addrs, routes, links := make(chan netlink.AddrUpdate), make(chan netlink.RouteUpdate), make(chan netlink.LinkUpdate)
	var open []func() // waits until a subscription has ended, which blocks as long as nobody takes what it has
	defer func() {
		cancel()
		for _, drained := range open {
			drained()
		}
	}()
	if err := netlink.AddrSubscribeWithOptions(addrs, ctx.Done(), netlink.AddrSubscribeOptions{ReceiveBufferSize: routeNotices, ReceiveBufferForceSize: true}); err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	open = append(open, drain(addrs))
	if err := netlink.RouteSubscribeWithOptions(routes, ctx.Done(), netlink.RouteSubscribeOptions{ReceiveBufferSize: routeNotices, ReceiveBufferForceSize: true}); err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	open = append(open, drain(routes))
	if err := netlink.LinkSubscribeWithOptions(links, ctx.Done(), netlink.LinkSubscribeOptions{ReceiveBufferSize: routeNotices, ReceiveBufferForceSize: true}); err != nil {
		return fmt.Errorf("watch links: %w", err)
	}
	open = append(open, drain(links))
	for {
		var more, matters bool
		select {
		case _, more = <-addrs:
			matters = true
		case u, ok := <-routes:
			more, matters = ok, ok && routeMatters(u)
		case u, ok := <-links:
			more, matters = ok, ok && linkMatters(u)
		}
		switch {
		case outer.Err() != nil:
			return nil
		case !more:
			return errors.New("the kernel stopped telling of changes to addresses, routes and links")
		case matters:
			r.doubt()
			kick()
		}
	}
}

func drain[T any](updates <-chan T) func() {
	return func() {
		for range updates {
			continue
		}
	}
}

// routeMatters says whether a route that came or went is ours and gone, or the default route, whose link decides over the
// source. We are told of our own removals too, and a kick is cheap.
func routeMatters(u netlink.RouteUpdate) bool {
	return u.Type == unix.RTM_DELROUTE && u.Route.Protocol == routeProtocol || u.Route.Gw != nil && prefixOf(u.Route.Dst).Bits() <= 0
}

// linkMatters: a link that goes down takes its IPv4 routes along without a word.
func linkMatters(u netlink.LinkUpdate) bool {
	attrs := u.Link.Attrs()
	return attrs.Name == routeLink && (u.Header.Type == unix.RTM_DELLINK || attrs.Flags&net.FlagUp == 0)
}
