package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/door"
)

// doorPlace is where a node is asked, and how.
type doorPlace struct {
	address netip.AddrPort
	tls     *door.Credential
	etcd    string // an endpoint, the way to which says by which address others reach this node
}

// ownHost reads the address of a listener for this host alone; the zero one: none. Why says what else would be.
func ownHost(flag, text, why string) (address netip.AddrPort, err error) {
	if text == "" {
		return address, nil
	}
	if address, err = netip.ParseAddrPort(text); err != nil || address.Port() == 0 {
		return address, &usageError{fmt.Errorf("%s %q: want IP:PORT", flag, text)}
	}
	if !address.Addr().Unmap().IsLoopback() {
		return address, fmt.Errorf("%w: %s %s is not loopback, %s", cluster.ErrUnsafe, flag, text, why)
	}
	return address, nil
}

// place decides where to listen: beyond loopback by TLS, or where --insecure-etcd says that the network is trusted.
func (f etcdFlags) place(flag, listen string, port uint16) (p doorPlace, err error) {
	if len(f.endpoints) > 0 {
		p.etcd = f.endpoints[0]
	}
	p.tls = f.credential()
	p.address = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	if p.tls != nil || f.insecure {
		p.address = netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	}
	if listen == "" {
		return p, nil
	}
	given := listen
	if strings.HasPrefix(listen, ":") {
		listen = "[::]" + listen
	}
	if p.address, err = netip.ParseAddrPort(listen); err != nil || p.address.Port() == 0 {
		return p, &usageError{fmt.Errorf("%s %q: want IP:PORT or :PORT", flag, given)}
	}
	p.address = netip.AddrPortFrom(p.address.Addr().Unmap(), p.address.Port())
	if !p.address.Addr().IsLoopback() && p.tls == nil && !f.insecure {
		return p, fmt.Errorf("%w: %s %s is not loopback, and without TLS its token could be read on the way: give --etcd-ca, --etcd-cert and --etcd-key for an etcd with https, or --insecure-etcd if the network is trusted", cluster.ErrUnsafe, flag, given)
	}
	return p, nil
}

// url is where others find it, given the node's addresses and the port that it listens on.
func (p doorPlace) url(ctx context.Context, addresses []netip.Addr, port uint16) string {
	addr := p.address.Addr()
	if addr.IsUnspecified() {
		if len(addresses) == 0 {
			return ""
		}
		if addr = outbound(ctx, p.etcd); !slices.Contains(addresses, addr) {
			addr = addresses[0]
		}
	}
	u := url.URL{Scheme: "http", Host: netip.AddrPortFrom(addr, port).String()}
	if p.tls != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// outbound is this host's address on the way to etcd: others are found there, too. No packet is sent.
func outbound(ctx context.Context, endpoint string) (none netip.Addr) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme == "unix" {
		return none
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", u.Host)
	if err != nil {
		return none
	}
	defer conn.Close()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return none
	}
	return local.AddrPort().Addr().Unmap()
}

// credential is what nodes and those who ask them know each other by; nil where etcd is not reached by TLS with a
// client certificate.
func (f etcdFlags) credential() *door.Credential {
	c, err := f.config()
	if err != nil || !c.Encrypted() || f.ca == "" || f.cert == "" || f.key == "" {
		return nil
	}
	return &door.Credential{CA: f.ca, Cert: f.cert, Key: f.key}
}

// asks is what all clients of nodes go by.
func (f etcdFlags) asks(secret func(context.Context) (string, error)) door.Client {
	return door.Client{Token: secret, TLS: f.credential(), Insecure: f.insecure, Loopback: etcd.Config{Endpoints: f.endpoints}.Local()}
}
