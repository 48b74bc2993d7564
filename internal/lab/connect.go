package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxID bounds the first line of an answer: whatever else listens there may send anything.
const maxID = 128

// datagrams numbers what is sent, so that a late answer to an earlier datagram is not taken for the present one's.
var datagrams atomic.Int64

// connect opens one connection, has an instance name itself and closes. It must run inside the namespace.
func (l Load) connect(ctx context.Context) (id string, took time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	start := time.Now()
	conn, err := l.Dial(ctx)
	if err != nil {
		return "", 0, err
	}
	defer conn.Close()
	defer interruptible(ctx, conn)()
	if l.Network == "udp" {
		id, err = askDatagram(conn)
		return id, time.Since(start), err
	}
	took = time.Since(start)
	// A reset leaves no TIME_WAIT behind; 28,000 ephemeral ports would be used up within seconds.
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		return "", 0, err
	}
	id, err = readGreeting(conn)
	return id, took, err
}

// flows counts those of UDP. Each gets a source port of its own: drawn by chance, one would come again now and then while
// the kernel still knows the flow, and be no new connection to it.
var flows atomic.Uint32

// Dial opens one connection of the load, from a thread that is inside the namespace. One of UDP is new to every kernel that it
// passes: its source port is its own.
func (l Load) Dial(ctx context.Context) (conn net.Conn, err error) {
	for {
		conn, err = l.dialer().DialContext(ctx, l.Network, l.Frontend.String())
		if l.Network != "udp" || !errors.Is(err, unix.EADDRINUSE) {
			return conn, err
		}
	}
}

func (l Load) dialer() *net.Dialer {
	d := &net.Dialer{KeepAlive: -1}
	d.SetMultipathTCP(false)
	if l.Network == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: l.Source.AsSlice(), Port: 32768 + int(flows.Add(1)%28_000)}
		return d
	}
	if !l.Source.IsValid() {
		return d
	}
	d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.Source, 0))
	// Else bind would take a port for all destinations at once, and they run out sooner.
	d.Control = func(_, _ string, raw syscall.RawConn) (err error) {
		ctlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		})
		if ctlErr != nil {
			return ctlErr
		}
		return err
	}
	return d
}

// interruptible ends reads and writes of conn when ctx ends; the returned function releases it.
func interruptible(ctx context.Context, conn net.Conn) (release func()) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// readGreeting is readID for a connection that ends with it: what follows may be read, too. A call for each byte would be
// most of what a connection costs.
func readGreeting(r io.Reader) (string, error) {
	greeting := make([]byte, maxID)
	for have := 0; have < maxID; {
		n, err := r.Read(greeting[have:])
		have += n
		if id, _, whole := bytes.Cut(greeting[:have], []byte{'\n'}); whole {
			return string(id), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%w: %q", errAnswer, greeting)
}

// readID reads up to the newline byte by byte: what follows is the stream's, not ours.
func readID(r io.Reader) (string, error) {
	var id []byte
	one := make([]byte, 1)
	for len(id) < maxID {
		if _, err := io.ReadFull(r, one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(id), nil
		}
		id = append(id, one[0])
	}
	return "", fmt.Errorf("%w: %q", errAnswer, id)
}

func askDatagram(conn net.Conn) (string, error) {
	payload := fmt.Appendf(nil, "ask-%d", datagrams.Add(1))
	if _, err := conn.Write(payload); err != nil {
		return "", err
	}
	buf := make([]byte, maxID+len(payload)+1)
	n, err := conn.Read(buf)
	if err != nil {
		return "", err
	}
	id, echoed, ok := bytes.Cut(buf[:n], []byte(" "))
	if !ok || !bytes.Equal(echoed, payload) {
		return "", fmt.Errorf("%w: %q", errAnswer, strings.ToValidUTF8(string(buf[:n]), "?"))
	}
	return string(id), nil
}
