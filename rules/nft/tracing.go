package nft

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/nfnetlink"
)

// traced is one message of the kernel's tracing: what a rule, or the policy of a chain, said of a packet.
type traced struct {
	id           uint32 // of the packet, among those that are traced at the same time
	table, chain string
	kind         uint32 // NFT_TRACETYPE_*
	verdict      int32
	to           string // the chain of a jump or goto
	packet       packet // valid only in the first message of each base chain
}

// packet is what the headers say.
type packet struct{ from, to netip.AddrPort }

func (p packet) valid() bool { return p.from.IsValid() && p.to.IsValid() }

var errTrace = errors.New("malformed trace message")

// decodeTrace reads a message of NFNLGRP_NFTRACE behind its netlink header; ok is false for anything else.
func decodeTrace(m netlink.Message, f *family) (t traced, ok bool, err error) {
	if nfnetlink.Kind(m) != unix.NFT_MSG_TRACE {
		return t, false, nil
	}
	if len(m.Data) < 4 {
		return t, false, errTrace
	}
	if m.Data[0] != byte(f.table) {
		return t, false, nil
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return t, false, errors.Join(errTrace, err)
	}
	ad.ByteOrder = binary.BigEndian
	var network, transport []byte
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_TRACE_TABLE:
			t.table = ad.String()
		case unix.NFTA_TRACE_CHAIN:
			t.chain = ad.String()
		case unix.NFTA_TRACE_TYPE:
			t.kind = ad.Uint32()
		case unix.NFTA_TRACE_ID:
			t.id = ad.Uint32()
		case unix.NFTA_TRACE_POLICY:
			t.verdict = int32(ad.Uint32())
		case unix.NFTA_TRACE_VERDICT:
			ad.Nested(t.decodeVerdict)
		case unix.NFTA_TRACE_NETWORK_HEADER:
			network = ad.Bytes()
		case unix.NFTA_TRACE_TRANSPORT_HEADER:
			transport = ad.Bytes()
		}
	}
	if err := ad.Err(); err != nil {
		return t, false, errors.Join(errTrace, err)
	}
	t.packet = f.packet(network, transport)
	return t, true, nil
}

func (t *traced) decodeVerdict(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case unix.NFTA_VERDICT_CODE:
			t.verdict = int32(ad.Uint32())
		case unix.NFTA_VERDICT_CHAIN:
			t.to = ad.String()
		}
	}
	return ad.Err()
}

// packet reads addresses and ports; the zero packet where they are not there.
func (f *family) packet(network, transport []byte) packet {
	if len(network) < int(f.daddr+f.addrLen) || len(transport) < 4 {
		return packet{}
	}
	end := func(at uint32, port []byte) netip.AddrPort {
		a, _ := netip.AddrFromSlice(network[at : at+f.addrLen])
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(port))
	}
	return packet{end(f.saddr, transport), end(f.daddr, transport[2:])}
}

// nf_tables' verdicts of linux/netfilter.h and linux/netfilter/nf_tables.h.
const (
	verdictDrop   = 0
	verdictAccept = 1
)

// String is the verdict in nft's words.
func (t traced) String() string {
	switch t.verdict {
	case verdictDrop:
		return "drop"
	case verdictAccept:
		return "accept"
	case unix.NFT_CONTINUE:
		return "continue"
	case unix.NFT_RETURN:
		return "return"
	case unix.NFT_JUMP:
		return strings.TrimSpace("jump " + t.to)
	case unix.NFT_GOTO:
		return strings.TrimSpace("goto " + t.to)
	}
	return "another verdict"
}
