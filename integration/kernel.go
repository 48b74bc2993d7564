package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/ipt"
	"github.com/weir-lb/weir/rules/nft"
)

// Slots counts, for each frontend, how many slots lead to which target: by the listing of the stock nft program, or by the
// driver where that is another one.
func (w *World) Slots(node *lab.Host) map[cluster.Frontend]map[netip.AddrPort]int {
	w.t.Helper()
	out := map[cluster.Frontend]map[netip.AddrPort]int{}
	if w.onIptables() {
		state, err := w.looking(node).Read(w.t.Context())
		require.NoError(w.t, err)
		require.Empty(w.t, state.Damage)
		for f, p := range state.Placed {
			if len(p.Slots) > 0 {
				out[f] = map[netip.AddrPort]int{}
			}
			for _, target := range p.Slots {
				out[f][target]++
			}
		}
		return out
	}
	for _, family := range []string{"ip", "ip6"} {
		text, err := node.Output("nft", "-j", "list", "table", family, "weir")
		require.NoError(w.t, err)
		var listing struct {
			Nftables []struct {
				Map *struct {
					Name string
					Elem []json.RawMessage
				}
			}
		}
		require.NoError(w.t, json.Unmarshal(text, &listing))
		for _, object := range listing.Nftables {
			if object.Map == nil || object.Map.Name == "services" {
				continue
			}
			for _, raw := range object.Map.Elem {
				f, target := w.slot(raw)
				if out[f] == nil {
					out[f] = map[netip.AddrPort]int{}
				}
				out[f][target]++
			}
		}
	}
	return out
}

// slot reads one element of an endpoint map: [{"elem": {"val": {"concat": [VIP, proto, port, slot]}}}, {"concat": [IP, port]}].
func (w *World) slot(raw json.RawMessage) (cluster.Frontend, netip.AddrPort) {
	w.t.Helper()
	type concat struct{ Concat []any }
	var pair [2]json.RawMessage
	require.NoError(w.t, json.Unmarshal(raw, &pair))
	var key struct{ Elem struct{ Val concat } }
	var data concat
	require.NoError(w.t, json.Unmarshal(pair[0], &key))
	require.NoError(w.t, json.Unmarshal(pair[1], &data))
	require.Len(w.t, key.Elem.Val.Concat, 4, "%s", raw)
	require.Len(w.t, data.Concat, 2, "%s", raw)
	proto, err := cluster.ParseProto(fmt.Sprint(key.Elem.Val.Concat[1]))
	require.NoError(w.t, err)
	vip, target := netip.MustParseAddr(fmt.Sprint(key.Elem.Val.Concat[0])), netip.MustParseAddr(fmt.Sprint(data.Concat[0]))
	return cluster.Frontend{VIP: vip, Proto: proto, Port: w.number(key.Elem.Val.Concat[2])}, netip.AddrPortFrom(target, w.number(data.Concat[1]))
}

func (w *World) number(v any) uint16 {
	w.t.Helper()
	n, err := strconv.ParseUint(fmt.Sprint(v), 10, 16)
	require.NoError(w.t, err)
	return uint16(n)
}

// Flows counts the connection tracking entries of a host that were opened to a frontend and are answered by an address.
func (w *World) Flows(host *lab.Host, f cluster.Frontend, answers netip.Addr) (n int) {
	w.t.Helper()
	family := netlink.InetFamily(unix.AF_INET)
	if f.VIP.Is6() {
		family = unix.AF_INET6
	}
	flows, err := host.Handle().ConntrackTableList(netlink.ConntrackTable, family)
	require.NoError(w.t, err)
	for _, flow := range flows {
		vip, _ := netip.AddrFromSlice(flow.Forward.DstIP)
		source, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
		if vip.Unmap() == f.VIP && flow.Forward.DstPort == f.Port && cluster.Proto(flow.Forward.Protocol) == f.Proto && source.Unmap() == answers {
			n++
		}
	}
	return n
}

// Loopback is the number of packets that a host has sent over lo.
func (w *World) Loopback(host *lab.Host) uint64 {
	w.t.Helper()
	link, err := host.Handle().LinkByName("lo")
	require.NoError(w.t, err)
	return link.Attrs().Statistics.TxPackets
}

// NFT loads a script with the stock program, as somebody else on the host would.
func (w *World) NFT(host *lab.Host, script string) {
	w.t.Helper()
	out, err := host.Output("nft", script)
	require.NoError(w.t, err, "%s", out)
}

// Unrule takes our rules from a node, as somebody else would who does not know them.
func (w *World) Unrule(node *lab.Host) {
	w.t.Helper()
	if !w.onIptables() {
		w.NFT(node, "delete table ip weir; delete table ip6 weir")
		return
	}
	for _, program := range []string{"iptables", "ip6tables"} {
		for _, table := range []string{"filter", "nat"} {
			for _, what := range []string{"-F", "-X"} {
				out, err := node.Output(program+strings.TrimPrefix(w.o.Driver, "ipt"), "-w", "5", "-t", table, what)
				require.NoError(w.t, err, "%s", out)
			}
		}
	}
}

func (w *World) onIptables() bool { return strings.HasPrefix(w.o.Driver, "ipt") }

// looking is a driver of the kind that wrote a node's rules.
func (w *World) looking(node *lab.Host) counting {
	w.t.Helper()
	if w.onIptables() {
		return ipt.New(ipt.Options{Variant: ipt.Variant(strings.TrimPrefix(w.o.Driver, "ipt-")), NetNS: int(node.Netns())})
	}
	d, err := nft.New(nft.Options{NetNS: int(node.Netns()), Ownership: nft.ReadOnly})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = d.Close() })
	return d
}

type counting interface {
	rules.Driver
	Refused(ctx context.Context) (map[cluster.Frontend]uint64, error)
	LocalCounts(ctx context.Context) (map[cluster.Listener]uint64, error)
}

// Sound requires that a node has so many frontends and that each chooses from slots that are there, and counts those that
// lead to a port.
func (w *World) Sound(node *lab.Host, frontends int, port uint16) (changed int) {
	w.t.Helper()
	d, err := nft.New(nft.Options{Ownership: nft.ReadOnly, NetNS: int(node.Netns())})
	require.NoError(w.t, err)
	defer d.Close()
	state, err := d.Read(context.Background())
	require.NoError(w.t, err)
	require.Empty(w.t, state.Damage)
	require.Len(w.t, state.Placed, frontends)
	for f, p := range state.Placed {
		require.Equal(w.t, rules.Random, p.Mode, f)
		require.Positive(w.t, p.Size, f)
		require.GreaterOrEqual(w.t, len(p.Slots), p.Size, f)
		for _, target := range p.Slots {
			require.True(w.t, target.IsValid(), "%s: %v", f, p)
		}
		if p.Slots[0].Port() == port {
			changed++
		}
	}
	return changed
}
