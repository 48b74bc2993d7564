package nft

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// family is one of our two tables: where its packets keep their addresses, and in which registers keys are put together.
//
// A key is (daddr . l4proto . dport . slot) in consecutive registers, padded to four bytes each; what the lookup finds
// is (address . port), at its start. The kernel reports a 4-byte register that begins a 16-byte one by the latter's
// number, so that is how they are written here: rules then read back as they were written.
type family struct {
	name         string // as nft prints it
	table        nftables.TableFamily
	addrType     nftables.SetDatatype
	addrLen      uint32
	saddr, daddr uint32 // offsets in the network header
	proto        uint32 // registers; the address is in register 1
	port, slot   uint32
	second       uint32 // the register behind an address in (address . address)
	hashed       uint32 // a register beside the key; the one that nft takes, so that its rules equal ours
	ctDst        expr.CtKey
	icmp         uint8 // protocol number
	icmpName     string
	echoRequest  uint8
	unreachable  uint8 // the ICMP code of "port unreachable"
	specs        []setSpec
}

var families = [...]*family{
	withSpecs(&family{
		name: "ip", table: nftables.TableFamilyIPv4, addrType: nftables.TypeIPAddr, addrLen: 4, saddr: 12, daddr: 16,
		proto: 9, port: 10, slot: 11, second: 9, hashed: 3,
		ctDst: expr.CtKeyDSTIP, icmp: unix.IPPROTO_ICMP, icmpName: "icmp", echoRequest: 8, unreachable: 3,
	}),
	withSpecs(&family{
		name: "ip6", table: nftables.TableFamilyIPv6, addrType: nftables.TypeIP6Addr, addrLen: 16, saddr: 8, daddr: 24,
		proto: 2, port: 13, slot: 14, second: 2, hashed: 19,
		ctDst: expr.CtKeyDSTIP6, icmp: unix.IPPROTO_ICMPV6, icmpName: "icmpv6", echoRequest: 128, unreachable: 4,
	}),
}

func withSpecs(f *family) *family {
	f.specs = f.sets()
	return f
}

func (f *family) spec(name string) setSpec {
	return f.specs[slices.IndexFunc(f.specs, func(s setSpec) bool { return s.name == name })]
}

func familyOf(addr netip.Addr) *family {
	if addr.Is4() {
		return families[0]
	}
	return families[1]
}

func (f *family) has(addr netip.Addr) bool { return familyOf(addr) == f }
