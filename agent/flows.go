package agent

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// flows deletes connection tracking entries that hold clients to instances that are no longer wanted.
//
// Rules decide over new connections only. A UDP flow never ends by itself while its client sends, so it would stay on an
// instance that is gone; so would the retries of a TCP connection that got no answer. Established TCP is never touched:
// connections of a drained instance live on.
type flows struct {
	logger  *slog.Logger
	metrics *Metrics

	// remove deletes the entries of a family that the filter picks, and counts them.
	remove func(netlink.InetFamily, netlink.CustomConntrackFilter) (uint, error)

	mu      sync.Mutex
	ruleset *rules.Ruleset
	gone    map[cluster.Frontend]bool // frontends that went since the last run
}

func newFlows(logger *slog.Logger, metrics *Metrics) *flows {
	remove := func(family netlink.InetFamily, filter netlink.CustomConntrackFilter) (uint, error) {
		return netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, filter)
	}
	return &flows{logger: logger, metrics: metrics, remove: remove, gone: map[cluster.Frontend]bool{}}
}

// want takes over what is wanted now, and which frontends a plan removed.
func (f *flows) want(ruleset *rules.Ruleset, plan *rules.Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ruleset = ruleset
	for _, c := range plan.Changes {
		if c.Want.Mode == rules.Absent {
			f.gone[c.Frontend] = true
		}
	}
}

// reconcile deletes what is stale. Every loss of a target is followed by a run.
func (f *flows) reconcile(context.Context) error {
	f.mu.Lock()
	stale := &staleFlows{want: f.ruleset, gone: f.gone}
	f.gone = map[cluster.Frontend]bool{}
	f.mu.Unlock()
	if stale.want == nil {
		return nil
	}
	var errs []error
	deleted := uint(0)
	for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if !stale.concerns(family) {
			continue // a walk through the table of all connections costs 10 ms even when it is empty
		}
		n, err := f.remove(family, stale)
		deleted += n
		if err != nil && !errors.Is(err, unix.ENOENT) { // ENOENT: it ended by itself in between
			errs = append(errs, err)
		}
	}
	if deleted > 0 {
		f.metrics.flows.Add(float64(deleted))
		f.logger.Info("stale flows deleted", "deleted", deleted)
	}
	if err := errors.Join(errs...); err != nil {
		f.mu.Lock()
		for frontend := range stale.gone {
			f.gone[frontend] = true
		}
		f.mu.Unlock()
		return err
	}
	return nil
}

// staleFlows picks the entries to delete. Masquerading rewrites where replies go, so only the original destination and
// the source of replies tell which service and which target an entry belongs to.
type staleFlows struct {
	want *rules.Ruleset
	gone map[cluster.Frontend]bool
}

// MatchConntrackFlow says whether an entry is ours, may be deleted, and leads to no wanted target. The VIP itself as the
// source of replies means that the flow began while the rules were away: it is stuck.
func (s *staleFlows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	proto := cluster.Proto(flow.Forward.Protocol)
	tcp, isTCP := flow.ProtoInfo.(*netlink.ProtoInfoTCP)
	switch {
	case proto == cluster.UDP:
	case proto == cluster.TCP && isTCP && tcp.State == conntrackSynSent:
	default:
		return false
	}
	frontend := cluster.Frontend{VIP: addrOf(flow.Forward.DstIP), Proto: proto, Port: flow.Forward.DstPort}
	balancer, known := s.want.Balancers.Get(frontend)
	if !known && !s.gone[frontend] && !s.ourVIP(frontend.VIP) {
		return false
	}
	target := netip.AddrPortFrom(addrOf(flow.Reverse.SrcIP), flow.Reverse.SrcPort)
	return !known || !balancer.Leads(target)
}

// concerns says whether an entry of a family may be ours.
func (s *staleFlows) concerns(family netlink.InetFamily) bool {
	of := func(a netip.Addr) bool { return a.Is4() == (family == unix.AF_INET) }
	for f := range s.gone {
		if of(f.VIP) {
			return true
		}
	}
	return slices.ContainsFunc(s.want.Sets[rules.VIPs], func(p netip.Prefix) bool { return of(p.Addr()) })
}

func (s *staleFlows) ourVIP(a netip.Addr) bool {
	for _, p := range s.want.Sets[rules.VIPs] {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// States of linux/netfilter/nf_conntrack_tcp.h.
const (
	conntrackSynSent = 1 // no reply so far
	conntrackLastAck = 6
	conntrackClose   = 8
)

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
