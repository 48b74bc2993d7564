package knock

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

// destination is where an IP packet is sent, as far as its first bytes tell: not behind the first fragment, and not where a
// protocol without ports is carried.
func destination(packet []byte) (f cluster.Frontend, ok bool) {
	if len(packet) == 0 {
		return f, false
	}
	var transport []byte
	switch packet[0] >> 4 {
	case 4:
		f, transport, ok = destination4(packet)
	case 6:
		f, transport, ok = destination6(packet)
	}
	known := f.Proto == cluster.TCP || f.Proto == cluster.UDP || f.Proto == cluster.SCTP
	if !ok || !known || len(transport) < 4 {
		return cluster.Frontend{}, false
	}
	f.Port = binary.BigEndian.Uint16(transport[2:])
	return f, true
}

func destination4(packet []byte) (f cluster.Frontend, transport []byte, ok bool) {
	const least = 20
	if len(packet) < least {
		return f, nil, false
	}
	length, fragment := int(packet[0]&15)*4, binary.BigEndian.Uint16(packet[6:])&0x1fff
	if length < least || length > len(packet) || fragment != 0 {
		return f, nil, false
	}
	vip, _ := netip.AddrFromSlice(packet[16:20])
	return cluster.Frontend{VIP: vip, Proto: cluster.Proto(packet[9])}, packet[length:], true
}

func destination6(packet []byte) (f cluster.Frontend, transport []byte, ok bool) {
	const header = 40
	if len(packet) < header {
		return f, nil, false
	}
	vip, _ := netip.AddrFromSlice(packet[24:40])
	next, rest := packet[6], packet[header:]
	for next == unix.IPPROTO_HOPOPTS || next == unix.IPPROTO_ROUTING || next == unix.IPPROTO_DSTOPTS {
		if len(rest) < 8 || len(rest) < 8*(1+int(rest[1])) {
			return f, nil, false
		}
		next, rest = rest[0], rest[8*(1+int(rest[1])):]
	}
	return cluster.Frontend{VIP: vip, Proto: cluster.Proto(next)}, rest, true
}
