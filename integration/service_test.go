package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// streamTo opens connections until one leads to the instance, and keeps that one.
func (w *World) streamTo(from *lab.Host, f cluster.Frontend, instance string) *lab.Stream {
	w.t.Helper()
	for range 500 {
		s, err := lab.StartStream(from.Namespace, lab.StreamOptions{Frontend: Address(f)})
		require.NoError(w.t, err)
		if s.ID() == instance {
			return s
		}
		s.Stop()
	}
	require.FailNow(w.t, "none of 500 connections led to "+instance)
	return nil
}

func TestDrain(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v6-%t", v6), func(t *testing.T) {
			t.Parallel()
			w := world(t, Options{Nodes: 2})
			f, instances := w.Frontend(cluster.TCP, v6), w.ServeAll(3, v6)
			w.Publish(Service("a", f, instances...))
			local, routed := w.streamTo(w.Nodes[1], f, instances[0]), w.streamTo(w.Client, f, instances[0])
			w.Drain("a", instances[0], true)
			for _, from := range []*lab.Host{w.Nodes[0], w.Nodes[1], w.Client} {
				w.Only(from, f, instances[1:]...)
			}
			for _, s := range []*lab.Stream{local, routed} {
				before := s.Snapshot().Answered
				w.Eventually(3*time.Second, "the live connection goes on", func() bool { return s.Snapshot().Answered > before+20 })
				r := s.Stop()
				require.False(t, r.Broken, r.Reason)
				require.Equal(t, r.Sent, r.Answered)
			}
			w.Drain("a", instances[0], false)
			w.Only(w.Client, f, instances...)
		})
	}
}

// TestOwnVIP has instances call the service that they belong to.
func TestOwnVIP(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2})
	for _, proto := range []cluster.Proto{cluster.TCP, cluster.UDP} {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s-v6-%t", proto, v6), func(t *testing.T) {
				w := w.With(t)
				port := map[cluster.Proto]uint16{cluster.TCP: 81, cluster.UDP: 82}[proto]
				behind, onNode := w.Instances[0], w.Nodes[0]
				require.NoError(t, w.RouteVIPs(behind, w.Nodes[0], VIPs4, VIPs6))
				self, _ := w.Serve(behind, port, v6)
				neighbour, _ := w.Serve(w.Instances[1], port, v6)
				hosted, _ := w.Serve(onNode, port, v6)
				name := fmt.Sprintf("%s-%t", proto, v6)

				hairpin := w.Frontend(proto, v6)
				w.Publish(Service(name+"-hairpin", hairpin, self))
				w.Only(behind, hairpin, self)
				both := w.Frontend(proto, v6)
				w.Publish(Service(name+"-both", both, self, neighbour))
				w.Only(behind, both, self, neighbour)
				host := w.Frontend(proto, v6)
				w.Publish(Service(name+"-host", host, hosted))
				w.Only(onNode, host, hosted)
				w.Only(w.Nodes[1], host, hosted)
				w.Only(behind, host, hosted)
				w.Only(w.Client, host, hosted)
			})
		}
	}
}

// refusal is how an attempt to connect ended that nobody should answer.
type refusal struct {
	err  error
	took time.Duration
}

// refused opens one connection, or sends one datagram, and tells how that ended.
func (w *World) refused(from *lab.Host, f cluster.Frontend, patience time.Duration) refusal {
	w.t.Helper()
	var out refusal
	err := from.Do(func() error {
		start := time.Now()
		ctx, cancel := context.WithTimeout(w.t.Context(), patience)
		defer cancel()
		conn, err := Load(f, 1).Dial(ctx) // in UDP a port that was used before would be an old flow, which is neither refused nor counted
		if err == nil {
			_ = conn.SetDeadline(start.Add(patience))
			if _, err = conn.Write([]byte("hello")); err == nil {
				_, err = conn.Read(make([]byte, 100))
			}
			conn.Close()
		}
		out = refusal{err, time.Since(start)}
		return nil
	})
	require.NoError(w.t, err)
	return out
}

// TestRefusal connects to what nobody serves. The answer is a refusal at once, never silence, and nothing circles on lo.
func TestRefusal(t *testing.T) {
	pools := []netip.Prefix{VIPs4, VIPs6}
	for _, services := range []int{0, 1} {
		t.Run(fmt.Sprintf("%d services", services), func(t *testing.T) {
			w := world(t, Options{})
			w.Commit(cluster.SetConfig{Config: &cluster.Config{VIPPools: pools}})
			for _, v6 := range []bool{false, true} {
				for _, proto := range []cluster.Proto{cluster.TCP, cluster.UDP} {
					cases := map[string]cluster.Frontend{"unused address": w.Frontend(proto, v6)}
					if services > 0 {
						name := fmt.Sprintf("%s-%t", proto, v6)
						served, empty := w.Frontend(proto, v6), w.Frontend(proto, v6)
						instance, _ := w.Serve(w.Instances[0], map[cluster.Proto]uint16{cluster.TCP: 81, cluster.UDP: 82}[proto], v6)
						w.Publish(Service(name, served, instance), Service(name+"-empty", empty))
						w.Only(w.Client, served, instance)
						cases["no instance"] = empty
						cases["unknown port"] = cluster.Frontend{VIP: served.VIP, Proto: proto, Port: 9}
					}
					for what, f := range cases {
						for place, from := range map[string]*lab.Host{"node-local": w.Nodes[0], "forwarded": w.Client} {
							t.Run(fmt.Sprintf("%s %s v6-%t %s", what, proto, v6, place), func(t *testing.T) {
								w := w.With(t)
								if proto == cluster.UDP && from == w.Client {
									// Redirects, which a node sends for clients beside it on one link, use up the kernel's
									// limit of answers to a client, one a second.
									w.Eventually(15*time.Second, "one of the datagrams is refused", func() bool {
										before := w.Loopback(w.Nodes[0])
										got := w.refused(from, f, 200*time.Millisecond)
										require.LessOrEqual(t, w.Loopback(w.Nodes[0])-before, uint64(2), "packets on lo")
										return errors.Is(got.err, unix.ECONNREFUSED)
									})
									return
								}
								want := error(unix.ECONNREFUSED)
								if proto == cluster.UDP && w.o.Driver == "" { // nft rejects in an output hook; ipt leads to a port where nobody listens
									want = unix.EPERM
								}
								var took []time.Duration
								for range 5 {
									before := w.Loopback(w.Nodes[0])
									got := w.refused(from, f, 2*time.Second)
									require.ErrorIs(t, got.err, want)
									require.LessOrEqual(t, w.Loopback(w.Nodes[0])-before, uint64(2), "packets on lo")
									took = append(took, got.took)
								}
								slices.Sort(took)
								require.Less(t, took[2], 50*time.Millisecond, "%v", took)
							})
						}
					}
				}
			}
		})
	}
}

// tellClients serves connections by telling each client its own address.
func (w *World) tellClients(host *lab.Host, port uint16) netip.AddrPort {
	w.t.Helper()
	address := netip.AddrPortFrom(host.Addr4, port)
	ln, err := host.Listen("tcp", address.String())
	require.NoError(w.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = io.WriteString(conn, conn.RemoteAddr().String())
				conn.Close()
			}
		}
	}()
	w.t.Cleanup(func() {
		ln.Close()
		<-done
	})
	return address
}

// seenAs is the address that the server at the other end sees.
func (w *World) seenAs(from *lab.Host, to netip.AddrPort, source netip.Addr) netip.Addr {
	w.t.Helper()
	var seen netip.AddrPort
	err := from.Do(func() error {
		d := net.Dialer{Timeout: 3 * time.Second}
		if source.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
		}
		conn, err := d.Dial("tcp", to.String())
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
		text, err := io.ReadAll(conn)
		if err != nil {
			return err
		}
		seen, err = netip.ParseAddrPort(string(text))
		return err
	})
	require.NoError(w.t, err)
	return seen.Addr()
}

// TestClientAddress looks at whom the server sees: listed sources as they are, others as the node, and clients of another
// program's port mapping as they are, whatever we do beside it.
func TestClientAddress(t *testing.T) {
	t.Parallel()
	kept, other := netip.MustParseAddr("10.99.0.2"), netip.MustParseAddr("10.99.0.130")
	w := world(t, Options{AgentArgs: []string{"--keep-source", "10.99.0.0/25,192.168.10.0/24"}})
	node := w.Nodes[0]
	far, err := w.Lab.Namespace("far")
	require.NoError(t, err)
	require.NoError(t, w.Lab.Connect(node.Namespace, far, "far0", "eth0", netip.MustParsePrefix("10.99.0.1/24"), netip.PrefixFrom(kept, 24)))
	require.NoError(t, far.AddAddress("eth0", netip.PrefixFrom(other, 24)))
	client := &lab.Host{Namespace: far, Addr4: kept}
	require.NoError(t, far.Route(VIPs4, netip.MustParseAddr("10.99.0.1")))
	require.NoError(t, far.Route(netip.MustParsePrefix("192.168.10.0/24"), netip.MustParseAddr("10.99.0.1")))
	require.NoError(t, w.Instances[0].Route(netip.MustParsePrefix("10.99.0.0/24"), node.Addr4)) // replies pass the node

	f := w.Frontend(cluster.TCP, false)
	server := w.tellClients(w.Instances[0], 80)
	w.Publish(Service("a", f, server.String()))
	require.Equal(t, kept, w.seenAs(client, Address(f), kept), "a listed source keeps its address")
	require.Equal(t, node.Addr4, w.seenAs(client, Address(f), other), "others are seen as the node")
	require.Equal(t, node.Addr4, w.seenAs(w.Client, Address(f), netip.Addr{}), "a neighbour of the instance is never kept: replies would pass the node by")
	require.Equal(t, node.Addr4, w.seenAs(node, Address(f), netip.Addr{}))

	w.NFT(node, "table ip other { chain pre { type nat hook prerouting priority dstnat; ip daddr "+node.Addr4.String()+" tcp dport 9999 dnat to "+server.String()+"; }; }")
	mapped := netip.AddrPortFrom(node.Addr4, 9999)
	require.Equal(t, other, w.seenAs(client, mapped, other), "another program's mapping is none of our business")
}
