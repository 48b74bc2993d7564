package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// patience is how long is waited for what has to come, on a machine that has much else to do.
const patience = 20 * time.Second

func oneInstance(t *testing.T) (c *Cluster, s *Instance, frontend netip.AddrPort) {
	t.Helper()
	c, err := NewCluster(Test(t), 1, 1)
	require.NoError(t, err)
	frontend = netip.AddrPortFrom(c.Instances[0].Addr4, 80)
	s, err = Serve(c.Instances[0].Namespace, "a", frontend)
	require.NoError(t, err)
	return c, s, frontend
}

func TestFloodCounts(t *testing.T) {
	c, server, frontend := oneInstance(t)
	r, err := Flood(t.Context(), c.Client.Namespace, Load{Frontend: frontend, Connections: 1003, Workers: 7})
	require.NoError(t, err)
	require.Equal(t, 1003, r.Connections)
	require.Zero(t, r.Failed, r.String())
	require.Equal(t, map[string]int{"a": 1003}, r.ByID)
	require.Len(t, r.Latency, 1003)
	require.Positive(t, r.Percentile(0.5))
	require.LessOrEqual(t, r.Percentile(0.5), r.Percentile(0.99))
	require.Equal(t, 1003, server.Accepted())

	waiting, err := c.Client.Output("ss", "-Htan", "state", "time-wait")
	require.NoError(t, err)
	require.Empty(t, string(waiting), "closed by reset")
}

func TestFloodSource(t *testing.T) {
	c, _, _ := oneInstance(t)
	source := netip.MustParseAddr("192.168.10.60")
	require.NoError(t, c.Client.AddAddress("eth0", netip.PrefixFrom(source, 24)))
	for _, network := range []string{"tcp", "udp"} {
		// Only this source can be answered: the instance has a route to nowhere else.
		require.NoError(t, c.Instances[0].Run(c.Instances[0].Command("ip", "route", "replace", "blackhole", "192.168.10.50/32")))
		load := Load{Frontend: netip.AddrPortFrom(c.Instances[0].Addr4, 80), Network: network, Connections: 5, Timeout: 100 * time.Millisecond}
		r, err := Flood(t.Context(), c.Client.Namespace, load)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"timeout": 5}, r.Failures, network)
		load.Source, load.Timeout = source, patience
		r, err = Flood(t.Context(), c.Client.Namespace, load)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"a": 5}, r.ByID, network)
	}
}

func TestFloodTellsFailuresApart(t *testing.T) {
	c, _, frontend := oneInstance(t)
	instance := c.Instances[0]
	mute, err := instance.Listen("tcp", netip.AddrPortFrom(instance.Addr4, 81).String())
	require.NoError(t, err)
	defer mute.Close()
	other, err := instance.ListenPacket("udp", netip.AddrPortFrom(instance.Addr4, 82).String())
	require.NoError(t, err)
	defer other.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			_, from, err := other.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = other.WriteTo([]byte("hello"), from)
		}
	}()
	hangUp, err := instance.Listen("tcp", netip.AddrPortFrom(instance.Addr4, 83).String())
	require.NoError(t, err)
	defer hangUp.Close()
	go func() {
		for {
			conn, err := hangUp.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()

	for _, tc := range []struct {
		name, network, want string
		frontend            netip.AddrPort
		timeout             time.Duration
	}{
		{"nobody listens", "tcp", "refused", netip.AddrPortFrom(frontend.Addr(), 9), patience},
		{"nobody listens", "udp", "refused", netip.AddrPortFrom(frontend.Addr(), 9), patience},
		{"no route", "tcp", "unreachable", netip.MustParseAddrPort("10.1.1.1:80"), patience},
		{"connects but never answers", "tcp", "timeout", netip.AddrPortFrom(frontend.Addr(), 81), 100 * time.Millisecond},
		{"something else answers", "udp", "wrong answer", netip.AddrPortFrom(frontend.Addr(), 82), patience},
		{"hangs up", "tcp", "closed", netip.AddrPortFrom(frontend.Addr(), 83), patience},
	} {
		t.Run(tc.name+" "+tc.network, func(t *testing.T) {
			// One after the other: of the first two ICMP errors of a namespace at the same moment the kernel drops one, as it
			// gives itself the leave to send any in two steps.
			load := Load{Frontend: tc.frontend, Network: tc.network, Connections: 4, Workers: 1, Timeout: tc.timeout}
			r, err := Flood(t.Context(), c.Client.Namespace, load)
			require.NoError(t, err)
			require.Equal(t, 4, r.Failed)
			require.Equal(t, map[string]int{tc.want: 4}, r.Failures)
			require.Empty(t, r.ByID)
		})
	}
}

func TestFloodEndsWithItsContext(t *testing.T) {
	c, _, _ := oneInstance(t)
	mute, err := c.Instances[0].Listen("tcp", netip.AddrPortFrom(c.Instances[0].Addr4, 81).String())
	require.NoError(t, err)
	defer mute.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r, err := Flood(ctx, c.Client.Namespace, Load{
		Frontend: netip.AddrPortFrom(c.Instances[0].Addr4, 81), Connections: 1e9, Timeout: time.Hour})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Zero(t, r.Failed, "cut off by us: %s", r)
}

func TestLoadMistakes(t *testing.T) {
	_, err := Flood(t.Context(), nil, Load{})
	require.ErrorContains(t, err, "frontend")
	_, err = Flood(t.Context(), nil, Load{Network: "sctp", Frontend: netip.MustParseAddrPort("10.0.0.1:1")})
	require.ErrorContains(t, err, "sctp")
}

func TestProbeSeesAnOutage(t *testing.T) {
	c, server, frontend := oneInstance(t)
	probe, err := StartProbe(c.Client.Namespace, Load{Frontend: frontend, Workers: 2})
	require.NoError(t, err)
	require.NoError(t, server.Close())
	// Of three connections that two workers want from here on, one is over when the third is wanted.
	before := probe.asked.Load()
	require.Eventually(t, func() bool { return probe.asked.Load() >= before+3 }, patience, time.Millisecond)
	r, err := probe.Stop()
	require.NoError(t, err)
	require.GreaterOrEqual(t, r.ByID["a"], 2, "before the outage: %s", r)
	require.Positive(t, r.Failures["refused"], "in the outage: %s", r)
	require.Equal(t, r.Connections, r.Good()+r.Failed)
	again, _ := probe.Stop()
	require.Equal(t, r, again)
}

func TestStreamRunsSmoothly(t *testing.T) {
	c, _, frontend := oneInstance(t)
	s, err := StartStream(c.Client.Namespace, StreamOptions{Frontend: frontend, Interval: time.Millisecond})
	require.NoError(t, err)
	require.Equal(t, "a", s.ID())
	require.Eventually(t, func() bool { return s.Snapshot().Answered >= 50 }, patience, time.Millisecond)
	r := s.Stop()
	require.False(t, r.Broken, r.Reason)
	require.Equal(t, r.Sent, r.Answered)
	require.Equal(t, r, s.Stop())
}

func TestStreamBreaks(t *testing.T) {
	c, server, frontend := oneInstance(t)
	s, err := StartStream(c.Client.Namespace, StreamOptions{Frontend: frontend, Interval: time.Millisecond})
	require.NoError(t, err)
	require.NoError(t, server.Close())
	require.Eventually(t, func() bool { return s.Snapshot().Broken }, patience, time.Millisecond)
	require.Contains(t, []string{"closed", "reset"}, s.Stop().Reason)
}

func TestStreamMeasuresAStall(t *testing.T) {
	c, _, frontend := oneInstance(t)
	s, err := StartStream(c.Client.Namespace, StreamOptions{Frontend: frontend, Interval: time.Millisecond})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.Snapshot().Answered > 0 }, patience, time.Millisecond)

	port, err := c.Switch.Namespace().Handle().LinkByName("port2") // the instance's, after the node's
	require.NoError(t, err)
	require.NoError(t, c.Switch.Namespace().Handle().LinkSetDown(port))
	require.Eventually(t, func() bool {
		now := s.Snapshot()
		return min(now.LongestStall, now.LongestQuiet) > 300*time.Millisecond
	}, patience, time.Millisecond)
	require.False(t, s.Snapshot().Broken)
	require.NoError(t, c.Switch.Namespace().Handle().LinkSetUp(port))
	stalled := s.Snapshot().Answered
	require.Eventually(t, func() bool { return s.Snapshot().Answered > stalled }, patience, time.Millisecond)

	r := s.Stop()
	require.False(t, r.Broken, r.Reason)
	require.Equal(t, r.Sent, r.Answered)
	require.Greater(t, min(r.LongestStall, r.LongestQuiet), 300*time.Millisecond)
}

func TestStreamLosesAnswers(t *testing.T) {
	c, _, frontend := oneInstance(t)
	var s *Stream
	require.Eventually(t, func() (connected bool) { // the time-out is for that, too
		var err error
		s, err = StartStream(c.Client.Namespace, StreamOptions{Frontend: frontend, Interval: time.Millisecond, Timeout: 100 * time.Millisecond})
		return err == nil
	}, patience, time.Millisecond)
	port, err := c.Switch.Namespace().Handle().LinkByName("port2")
	require.NoError(t, err)
	require.NoError(t, c.Switch.Namespace().Handle().LinkSetDown(port))
	cut := s.Snapshot().Sent
	require.Eventually(t, func() bool { return s.Snapshot().Sent > cut+5 }, patience, time.Millisecond)
	r := s.Stop()
	require.True(t, r.Broken)
	require.Equal(t, "timeout", r.Reason)
	require.Less(t, r.Answered, r.Sent)
}

func TestStreamNeedsAnInstance(t *testing.T) {
	c, server, frontend := oneInstance(t)
	require.NoError(t, server.Close())
	_, err := StartStream(c.Client.Namespace, StreamOptions{Frontend: frontend})
	require.Error(t, err)
	require.Equal(t, "refused", reason(err))
}

func TestInstanceEchoes(t *testing.T) {
	c, server, frontend := oneInstance(t)
	conn, err := c.Client.Dial(t.Context(), "tcp", frontend.String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "hello")
	require.NoError(t, err)
	got := make([]byte, len("a\nhello"))
	_, err = io.ReadFull(conn, got)
	require.NoError(t, err)
	require.Equal(t, "a\nhello", string(got))

	require.NoError(t, server.Close())
	_, err = conn.Read(got)
	require.Error(t, err, "Close ends open connections")
	require.NoError(t, server.Close(), "twice")
	_, err = Serve(c.Instances[0].Namespace, "b", frontend)
	require.NoError(t, err, "the address is free again")
}

// A child that another goroutine starts has the sockets for some moments after they are closed.
func TestInstanceEndsWhileAChildHoldsIt(t *testing.T) {
	c, server, frontend := oneInstance(t)
	var held []int
	for _, s := range server.sockets {
		raw, err := s.(syscall.Conn).SyscallConn()
		require.NoError(t, err)
		require.NoError(t, raw.Control(func(fd uintptr) {
			copied, err := unix.Dup(int(fd))
			require.NoError(t, err)
			held = append(held, copied)
		}))
	}
	require.Len(t, held, 2)
	require.NoError(t, server.Close())
	_, err := c.Client.Dial(t.Context(), "tcp", frontend.String())
	require.ErrorIs(t, err, unix.ECONNREFUSED)

	served := make(chan error, 1)
	go func() {
		_, err := Serve(c.Instances[0].Namespace, "b", frontend)
		served <- err
	}()
	require.Eventually(t, func() bool { // its listener is there: what it waits for is the other socket
		conn, err := c.Client.Dial(t.Context(), "tcp", frontend.String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, patience, time.Millisecond)
	require.Empty(t, served)
	for _, fd := range held {
		require.NoError(t, unix.Close(fd))
	}
	require.NoError(t, <-served)
}

func TestServeRefusesAForeignAddress(t *testing.T) {
	c, _, frontend := oneInstance(t)
	_, err := Serve(c.Instances[0].Namespace, "b", netip.AddrPortFrom(c.Instances[0].Addr4, 90), netip.MustParseAddrPort("10.1.1.1:80"))
	require.Error(t, err)
	_, err = Serve(c.Instances[0].Namespace, "b", netip.AddrPortFrom(frontend.Addr(), 90))
	require.NoError(t, err, "nothing is left of the failed one")
}

func TestResultLine(t *testing.T) {
	r := Result{Connections: 5, Failed: 2, Failures: map[string]int{"timeout": 1, "refused": 1}, ByID: map[string]int{"b": 1, "a": 2}}
	require.Equal(t, "5 connections, 2 failed (refused: 1) (timeout: 1), a 2, b 1", r.String())
	require.Zero(t, r.Percentile(0.5))
	r.Latency = []time.Duration{4, 1, 3, 2}
	require.Equal(t, time.Duration(2), r.Percentile(0.5))
	require.Equal(t, time.Duration(4), r.Percentile(1))
	require.Equal(t, time.Duration(1), r.Percentile(0))
}

func TestDatagrams(t *testing.T) {
	c, server, frontend := oneInstance(t)
	d, err := StartDatagrams(c.Client.Namespace, DatagramOptions{Frontend: frontend, Port: 4242, Interval: time.Millisecond})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return d.Snapshot().Answered >= 20 }, patience, time.Millisecond)
	require.NoError(t, server.Close())
	closed := d.Snapshot().Sent
	require.Eventually(t, func() bool { // the gap may be from before; of two that were counted since, one was sent since
		now := d.Snapshot()
		return min(now.LongestGap, now.LongestQuiet) > 100*time.Millisecond && now.Sent > closed+1
	}, patience, time.Millisecond)
	forgotten := time.Now()
	d.Forget()
	require.LessOrEqual(t, d.Snapshot().LongestGap, time.Since(forgotten))
	_, err = Serve(c.Instances[0].Namespace, "b", frontend)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return d.Snapshot().Last == "b" }, patience, time.Millisecond)
	r := d.Stop()
	require.Equal(t, map[string]int{"a": r.ByID["a"], "b": r.ByID["b"]}, r.ByID)
	require.Equal(t, r.Answered, r.ByID["a"]+r.ByID["b"])
	require.Greater(t, r.Sent, r.Answered)
	require.Equal(t, r, d.Stop(), "nothing changes after the end")
}

// A source port that comes again soon would be the same flow to the kernel.
func TestDatagramsOfDifferentPorts(t *testing.T) {
	taken, err := net.ListenPacket("udp", fmt.Sprintf(":%d", 32768+(flows.Load()+2)%28_000))
	require.NoError(t, err)
	defer taken.Close()
	load, seen := Load{Network: "udp", Frontend: netip.MustParseAddrPort("127.0.0.1:9")}, map[string]bool{taken.LocalAddr().String(): true}
	for range 1000 {
		conn, err := load.Dial(t.Context())
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		seen[conn.LocalAddr().String()] = true
	}
	require.Len(t, seen, 1001)
}
