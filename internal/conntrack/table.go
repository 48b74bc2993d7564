package conntrack

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/netdump"
)

// Family of the entries that an address may be in.
func Family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// List walks through all entries of a family, or of all (AF_UNSPEC), and returns those that pick wants. It holds no more of the table than that.
func List(family uint8, pick func(Entry) bool) ([]Entry, error) {
	var out []Entry
	var bad error
	about := nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0}
	err := netdump.Each(unix.NETLINK_NETFILTER, unix.NFNL_SUBSYS_CTNETLINK<<8|nl.IPCTNL_MSG_CT_GET, about.Serialize(), func(message []byte) error {
		e, err := Parse(message)
		if err != nil {
			bad = err
		} else if pick(e) {
			e.keep()
			out = append(out, e)
		}
		return nil
	})
	if err = errors.Join(err, bad); err != nil {
		return out, fmt.Errorf("list tracked connections: %w", err)
	}
	return out, nil
}

// Delete removes this very entry. The kernel is asked by the direction of its replies: the same client may have been led to
// another target meanwhile. It is no error when it is gone already; then existed is false.
func (e Entry) Delete() (existed bool, err error) {
	r := request(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK, Family(e.To.Addr()))
	r.AddRawData(slices.Concat(e.name[:]...))
	_, err = r.Execute(unix.NETLINK_NETFILTER, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("delete the tracked connection %s -> %s: %w", e.Client, e.To, err)
	}
	return true, nil
}

func request(operation, flags int, family uint8) *nl.NetlinkRequest {
	r := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|operation, flags)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	return r
}
