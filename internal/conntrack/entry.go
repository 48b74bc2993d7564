package conntrack

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Entry is one tracked connection. Masquerading rewrites where replies go, so only the original direction and the source
// of replies tell which service and which target it belongs to.
type Entry struct {
	Proto   uint8
	Client  netip.AddrPort // who began it
	To      netip.AddrPort // where the client sent it
	Answers netip.AddrPort // where replies come from: the target of a translated connection
	Replied bool           // a packet was seen in each direction
	State   uint8          // of TCP, as linux/netfilter/nf_conntrack_tcp.h counts; 0 when unknown
	Sent    uint64         // bytes of packets from the client; 0 where the kernel does not count (net.netfilter.nf_conntrack_acct)
	Got     uint64         // bytes of packets to the client

	name [3][]byte // the attributes that name it to the kernel: reply direction, id, zone
}

// keep makes the entry independent of the message that it was read from.
func (e *Entry) keep() {
	for i := range e.name {
		e.name[i] = slices.Clone(e.name[i])
	}
}

// Hash tells entries of one listing apart, and finds one again in the next: it is made of what names it to the kernel.
func (e Entry) Hash(seed maphash.Seed) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range e.name {
		_, _ = h.Write(part) // never fails
	}
	return h.Sum64()
}

// States of TCP.
const (
	SynSent  = 1
	LastAck  = 6
	TimeWait = 7
	Closed   = 8
)

// Ending says whether both sides of a TCP connection have finished, or one has reset it: the entry only waits to go.
func (e Entry) Ending() bool {
	return e.Proto == unix.IPPROTO_TCP && e.State >= LastAck && e.State <= Closed
}

// Refused says of an entry that was deleted whether a reset was the only answer.
func (e Entry) Refused() bool {
	return e.Proto == unix.IPPROTO_TCP && e.State == Closed && !e.Replied
}

// Unanswered says whether a TCP connection waits for its first answer. One that is refused is not seen so: the kernel drops
// its entry with the refusal (see WatchRefused).
func (e Entry) Unanswered() bool {
	return e.Proto == unix.IPPROTO_TCP && e.State == SynSent && !e.Replied
}

// Attributes of linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaProtoInfo  = 4
	ctaCountOrig  = 9
	ctaCountReply = 10
	ctaID         = 12
	ctaZone       = 18

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3

	ctaProtoInfoTCP      = 1
	ctaProtoInfoTCPState = 1

	ctaCountBytes = 2

	statusSeenReply = 1 << 1
)

const (
	headerLen = 4 // struct nfgenmsg
	attrLen   = 4 // struct nlattr
)

var errMalformed = errors.New("malformed connection tracking message")

// Parse reads a message of the kernel: struct nfgenmsg and attributes. The entry refers to it.
func Parse(message []byte) (Entry, error) {
	var e Entry
	if len(message) < headerLen {
		return e, errMalformed
	}
	var original, reply tuple
	err := attributes(message[headerLen:], func(kind uint16, value, whole []byte) (err error) {
		switch kind {
		case ctaTupleOrig:
			original = tuple{}
			err = original.parse(value)
		case ctaTupleReply:
			e.name[0], reply = whole, tuple{}
			err = reply.parse(value)
		case ctaID:
			e.name[1] = whole
		case ctaZone:
			e.name[2] = whole
		case ctaStatus:
			if len(value) != 4 {
				return errMalformed
			}
			e.Replied = binary.BigEndian.Uint32(value)&statusSeenReply != 0
		case ctaProtoInfo:
			e.State, err = tcpState(value)
		case ctaCountOrig:
			e.Sent, err = bytesIn(value)
		case ctaCountReply:
			e.Got, err = bytesIn(value)
		}
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	e.Proto, e.Client, e.To, e.Answers = original.proto, original.src(), original.dst(), reply.src()
	return e, nil
}

// tuple is one direction.
type tuple struct {
	proto            uint8
	from, to         netip.Addr
	fromPort, toPort uint16
}

func (t *tuple) src() netip.AddrPort { return netip.AddrPortFrom(t.from, t.fromPort) }
func (t *tuple) dst() netip.AddrPort { return netip.AddrPortFrom(t.to, t.toPort) }

func (t *tuple) parse(value []byte) error {
	return attributes(value, func(kind uint16, value, _ []byte) error {
		switch kind {
		case ctaTupleIP:
			return attributes(value, t.address)
		case ctaTupleProto:
			return attributes(value, t.port)
		}
		return nil
	})
}

func (t *tuple) address(kind uint16, value, _ []byte) error {
	a, ok := netip.AddrFromSlice(value)
	switch kind {
	case ctaIPv4Src, ctaIPv6Src:
		t.from = a
	case ctaIPv4Dst, ctaIPv6Dst:
		t.to = a
	default:
		ok = true
	}
	if !ok {
		return errMalformed
	}
	return nil
}

func (t *tuple) port(kind uint16, value, _ []byte) error {
	switch {
	case kind == ctaProtoNum && len(value) == 1:
		t.proto = value[0]
	case kind == ctaProtoSrcPort && len(value) == 2:
		t.fromPort = binary.BigEndian.Uint16(value)
	case kind == ctaProtoDstPort && len(value) == 2:
		t.toPort = binary.BigEndian.Uint16(value)
	case kind >= ctaProtoNum && kind <= ctaProtoDstPort:
		return errMalformed
	}
	return nil
}

func tcpState(value []byte) (state uint8, err error) {
	err = attributes(value, func(kind uint16, value, _ []byte) error {
		if kind != ctaProtoInfoTCP {
			return nil
		}
		return attributes(value, func(kind uint16, value, _ []byte) error {
			if kind == ctaProtoInfoTCPState && len(value) == 1 {
				state = value[0]
			}
			return nil
		})
	})
	return state, err
}

// bytesIn reads the counters of one direction.
func bytesIn(value []byte) (n uint64, err error) {
	err = attributes(value, func(kind uint16, value, _ []byte) error {
		if kind == ctaCountBytes {
			if len(value) != 8 {
				return errMalformed
			}
			n = binary.BigEndian.Uint64(value)
		}
		return nil
	})
	return n, err
}

// attributes calls each with every attribute: its kind, its value, and the whole of it.
func attributes(data []byte, each func(kind uint16, value, whole []byte) error) error {
	for len(data) > 0 {
		if len(data) < attrLen {
			return errMalformed
		}
		length, kind := int(binary.NativeEndian.Uint16(data)), binary.NativeEndian.Uint16(data[2:])
		if length < attrLen || length > len(data) {
			return errMalformed
		}
		padded := min((length+3)&^3, len(data))
		if err := each(kind&0x3fff, data[attrLen:length], data[:padded]); err != nil { // without the flags of nlattr
			return err
		}
		data = data[padded:]
	}
	return nil
}
