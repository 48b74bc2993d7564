package nft

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// verdictBytes is a goto as the kernel reports it.
func verdictBytes(t require.TestingT, kind int32, chain string) []byte {
	out, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_VERDICT_CODE, Data: binary.BigEndian.AppendUint32(nil, uint32(kind))},
		{Type: unix.NFTA_VERDICT_CHAIN, Data: append([]byte(chain), 0)},
	})
	require.NoError(t, err)
	return out
}

// Foreign bytes never make the reading panic, and what it takes for ours is what we would have written.
func FuzzKeys(f *testing.F) {
	f.Add(true, frontendKey(frontend("10.10.1.1:80")))
	f.Add(false, slotKey(frontend("[fd10::1]:53/udp"), 7))
	f.Add(true, slotKey(frontend("10.10.1.1:80"), maxSlot))
	f.Add(false, []byte{1, 2, 3})
	source := sourceElement(frontend("10.10.1.1:80"), netip.MustParsePrefix("10.30.0.0/24"))
	f.Add(true, append(source.Key, source.KeyEnd...))
	f.Fuzz(func(t *testing.T, v4 bool, key []byte) {
		family := families[1]
		if v4 {
			family = families[0]
		}
		if got, ok := family.parseFrontend(key); ok && len(key) == int(family.addrLen)+8 {
			require.Equal(t, key, frontendKey(got))
		}
		if got, slot, ok := family.parseSlot(key); ok {
			require.Equal(t, key, slotKey(got, slot))
			require.True(t, slot >= 0 && slot < maxSlot)
		}
		if half := len(key) / 2; half > 0 {
			element := nftables.SetElement{Key: key[:half], KeyEnd: key[half : 2*half]}
			if got, source, ok := family.parseSource(element); ok {
				require.Equal(t, element, sourceElement(got, source))
			}
		}
		if got, ok := family.parseTarget(key); ok {
			require.True(t, got.IsValid())
		}
	})
}

func FuzzBalancerName(f *testing.F) {
	for _, name := range []string{"lb-0-1", "lbh-15-251", "lb-16-1", "lb--1-2", "lb-00-1", "lb-1-2x", "lbh-1", "refuse", "lb-1-99999999999999999999", "lb-+1-2"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if shard, mode, size, ok := parseBalancer(name); ok {
			require.Equal(t, name, balancerName(shard, mode, size))
			require.True(t, shard >= 0 && shard < shards && size > 0 && size < maxSlot)
		}
	})
}

func FuzzEntry(f *testing.F) {
	for _, chain := range []string{"lb-2-2", "lbh-0-251", "no-endpoint", "guarded", "dispatch", ""} {
		f.Add(verdictBytes(f, unix.NFT_GOTO, chain))
		f.Add(verdictBytes(f, unix.NFT_JUMP, chain))
	}
	f.Add([]byte{3, 0, 1, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, verdict []byte) {
		to := frontend("10.10.1.1:80")
		if lead := parseLead(to, verdict); lead.Mode != rules.Unknown {
			require.Equal(t, chainOf(verdict), chainFor(to, lead))
		}
	})
}

// FuzzPrefixes feeds elements of any length and order to both kinds of sets.
func FuzzPrefixes(f *testing.F) {
	f.Add(true, false, []byte{10, 0, 0, 0, 0, 10, 1, 0, 0, 1}, []byte{})
	f.Add(true, true, []byte{10, 0, 0, 0, 10, 0, 0, 0}, []byte{10, 0, 0, 255, 10, 0, 0, 255})
	f.Add(false, false, []byte{1}, []byte{})
	f.Add(true, false, []byte{0, 0, 0, 0, 1, 255, 255, 255, 255, 0}, []byte{})
	f.Fuzz(func(t *testing.T, v4, pair bool, keys, ends []byte) {
		family, name := families[1], "vips"
		if v4 {
			family = families[0]
		}
		n := int(family.addrLen) + 1
		if pair {
			n, name = 2*int(family.addrLen), "same-link"
		}
		var elements []nftables.SetElement
		for len(keys) > 0 {
			e := nftables.SetElement{Key: keys[:min(n, len(keys))]}
			keys = keys[len(e.Key):]
			if pair {
				e.KeyEnd = ends[:min(n, len(ends))]
				ends = ends[len(e.KeyEnd):]
			} else if last := len(e.Key) - 1; len(e.Key) == n {
				e.Key, e.IntervalEnd = e.Key[:last], e.Key[last]&1 == 1
			}
			elements = append(elements, e)
		}
		got, err := family.spec(name).prefixes(elements)
		if err != nil {
			return
		}
		for _, p := range got {
			require.Equal(t, p.Masked(), p)
			require.True(t, family.has(p.Addr()), "%s in %s", p, family.name)
		}
	})
}

// Whatever we write reads back as itself.
func TestDecodeEncode(t *testing.T) {
	t.Parallel()
	address := func(t *rapid.T, v4 bool) netip.Addr {
		n := 16
		if v4 {
			n = 4
		}
		a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "address"))
		return a
	}
	port := rapid.Uint16()
	rapid.Check(t, func(t *rapid.T) {
		v4 := rapid.Bool().Draw(t, "v4")
		f := cluster.Frontend{VIP: address(t, v4), Proto: cluster.Proto(rapid.Byte().Draw(t, "proto")), Port: port.Draw(t, "port")}
		family := familyOf(f.VIP)
		got, ok := family.parseFrontend(frontendKey(f))
		require.True(t, ok)
		require.Equal(t, f, got)

		slot := rapid.IntRange(0, maxSlot-1).Draw(t, "slot")
		got, number, ok := family.parseSlot(slotKey(f, slot))
		require.True(t, ok)
		require.Equal(t, f, got)
		require.Equal(t, slot, number)

		target := netip.AddrPortFrom(address(t, v4), port.Draw(t, "target port"))
		decoded, ok := family.parseTarget(targetData(target))
		require.True(t, ok)
		require.Equal(t, target, decoded)

		mode, size := rapid.SampledFrom([]rules.Mode{rules.Random, rules.Source}).Draw(t, "mode"), rapid.IntRange(1, maxSlot-1).Draw(t, "size")
		for _, lead := range []rules.Lead{{Mode: mode, Size: size}, {Mode: rules.Refuse}, {Guard: true}} {
			require.Equal(t, lead, parseLead(f, verdictBytes(t, unix.NFT_GOTO, chainFor(f, lead))))
		}

		source := netip.PrefixFrom(address(t, v4), rapid.IntRange(0, f.VIP.BitLen()).Draw(t, "source bits")).Masked()
		got, admitted, ok := family.parseSource(sourceElement(f, source))
		require.True(t, ok)
		require.Equal(t, f, got)
		require.Equal(t, source, admitted)

		for _, name := range []string{"vips", "same-link"} {
			want := netip.PrefixFrom(address(t, v4), rapid.IntRange(0, f.VIP.BitLen()).Draw(t, "bits")).Masked()
			read, err := family.spec(name).prefixes(family.spec(name).elements(want))
			require.NoError(t, err)
			require.Equal(t, []netip.Prefix{want}, read)
		}
		for _, name := range []string{"hairpin", "pingable"} {
			host := netip.PrefixFrom(address(t, v4), f.VIP.BitLen())
			read, err := family.spec(name).prefixes(family.spec(name).elements(host))
			require.NoError(t, err)
			require.Equal(t, []netip.Prefix{host}, read)
		}
	})
}

// FuzzNotice feeds notices as the kernel, or somebody who pretends to be it, may send them.
func FuzzNotice(f *testing.F) {
	notice := func(kind uint16, attributes ...netlink.Attribute) {
		data, err := netlink.MarshalAttributes(attributes)
		require.NoError(f, err)
		f.Add(unix.NFNL_SUBSYS_NFTABLES<<8|kind, uint32(0), append([]byte{unix.NFPROTO_IPV4, 0, 0, 0}, data...))
	}
	ours := netlink.Attribute{Type: 1, Data: []byte("weir\x00")}
	notice(unix.NFT_MSG_DELTABLE, ours)
	notice(unix.NFT_MSG_NEWRULE, netlink.Attribute{Type: 1, Data: []byte("x")})
	notice(unix.NFT_MSG_NEWGEN, netlink.Attribute{Type: unix.NFTA_GEN_PROC_PID, Data: []byte{0, 0, 1, 2}}, netlink.Attribute{Type: unix.NFTA_GEN_PROC_NAME, Data: []byte("\x1b[31mnft\x00")})
	notice(unix.NFT_MSG_NEWGEN, netlink.Attribute{Type: unix.NFTA_GEN_PROC_PID, Data: []byte{1}})
	f.Add(uint16(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN), uint32(7), []byte{})
	f.Fuzz(func(t *testing.T, kind uint16, pid uint32, data []byte) {
		n := notices{ours: 7}
		n.add(netlink.Message{Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE}, Data: append([]byte{unix.NFPROTO_IPV4, 0, 0, 0}, 9, 0, 1, 0, 'w', 'e', 'i', 'r', 0)})
		require.Len(t, n.pending, 1)
		foreign, told := n.add(netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(kind), PID: pid}, Data: data})
		require.LessOrEqual(t, len(n.pending), 2)
		if told {
			require.NotEqual(t, uint32(7), pid)
			require.NotEmpty(t, foreign.What)
		}
	})
}
