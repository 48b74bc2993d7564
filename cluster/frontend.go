package cluster

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Proto is a transport protocol by its IANA number. In text it is tcp, udp or sctp.
type Proto uint8

// The protocols that a service may offer.
const (
	TCP  Proto = 6
	UDP  Proto = 17
	SCTP Proto = 132
)

// ParseProto reads tcp, udp or sctp; empty means tcp.
func ParseProto(s string) (Proto, error) {
	switch s {
	case "", "tcp":
		return TCP, nil
	case "udp":
		return UDP, nil
	case "sctp":
		return SCTP, nil
	}
	return 0, fmt.Errorf("protocol %q is unknown: use tcp, udp or sctp", s)
}

func (p Proto) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case SCTP:
		return "sctp"
	}
	return strconv.Itoa(int(p))
}

// MarshalText makes a Proto readable in JSON.
func (p Proto) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText accepts what ParseProto accepts.
func (p *Proto) UnmarshalText(text []byte) error {
	parsed, err := ParseProto(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}

// Frontend is what a client connects to.
type Frontend struct {
	VIP   netip.Addr
	Proto Proto
	Port  uint16
}

// ParseFrontend reads IP:PORT or IP:PORT/PROTO, with IPv6 in brackets.
func ParseFrontend(s string) (Frontend, error) {
	address, name, _ := strings.Cut(s, "/")
	proto, err := ParseProto(name)
	if err != nil {
		return Frontend{}, fmt.Errorf("frontend %q: %w", s, err)
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return Frontend{}, fmt.Errorf("frontend %q: want IP:PORT or IP:PORT/udp: %w", s, err)
	}
	if ap.Port() == 0 {
		return Frontend{}, fmt.Errorf("frontend %q: port 0 cannot be connected to: use 1..65535", s)
	}
	if ap.Addr().Is4In6() { // unmapped it would pass as another address than the one that was written
		plain := netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		return Frontend{}, fmt.Errorf("frontend %q: %s is an IPv4-mapped IPv6 address, which no client connects to: write %s", s, ap.Addr(), plain)
	}
	return Frontend{VIP: ap.Addr(), Proto: proto, Port: ap.Port()}, nil
}

// String is IP:PORT for TCP, as people write it, and IP:PORT/PROTO otherwise.
func (f Frontend) String() string {
	s := netip.AddrPortFrom(f.VIP, f.Port).String()
	if f.Proto != TCP {
		s += "/" + f.Proto.String()
	}
	return s
}

// MarshalText lets a Frontend be a JSON string or key.
func (f Frontend) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText accepts what ParseFrontend accepts.
func (f *Frontend) UnmarshalText(text []byte) error {
	parsed, err := ParseFrontend(string(text))
	if err != nil {
		return err
	}
	*f = parsed
	return nil
}

// Compare orders frontends by address, port, protocol.
func (f Frontend) Compare(g Frontend) int {
	return cmp.Or(f.VIP.Compare(g.VIP), cmp.Compare(f.Port, g.Port), cmp.Compare(f.Proto, g.Proto))
}
