package lab

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// heldFor bounds how long the child of end may take, on a machine that has much else to do.
const heldFor = 5 * time.Second

// Instance is a server in this process, with its sockets in a namespace.
//
// TCP: it sends its id and a newline at once, then echoes what it gets until the peer closes.
// UDP: it answers each datagram with its id, a space and the datagram.
type Instance struct {
	ns       *Namespace
	id       string
	sockets  []io.Closer
	running  sync.WaitGroup
	accepted atomic.Int64

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool
}

// Serve starts an instance on each address, both TCP and UDP.
func Serve(ns *Namespace, id string, addrs ...netip.AddrPort) (*Instance, error) {
	s := &Instance{ns: ns, id: id, conns: map[net.Conn]bool{}}
	for _, a := range addrs {
		if err := s.listen(a.String()); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if err := ns.lab.track(s); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Instance) listen(address string) error {
	ln, err := s.ns.Listen("tcp", address)
	if err != nil {
		return err
	}
	s.sockets = append(s.sockets, ln)
	pc, err := s.ns.ListenPacket("udp", address)
	for begin := time.Now(); errors.Is(err, unix.EADDRINUSE) && time.Since(begin) < heldFor; time.Sleep(time.Millisecond) {
		pc, err = s.ns.ListenPacket("udp", address)
	}
	if err != nil {
		return err
	}
	s.sockets = append(s.sockets, pc)
	s.running.Go(func() { s.accept(ln) })
	s.running.Go(func() { s.answer(pc) })
	return nil
}

// ID returns what the instance answers with.
func (s *Instance) ID() string { return s.id }

// Accepted returns the number of TCP connections taken so far.
func (s *Instance) Accepted() int { return int(s.accepted.Load()) }

// end closes a socket. A child that is just being started holds it, too, until it comes to its own program: a listener listens
// no more all the same.
func end(c io.Closer) error {
	if ln, ok := c.(*net.TCPListener); ok {
		if raw, err := ln.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
	}
	return c.Close()
}

// Close closes all sockets, connections included, and waits for the goroutines. It may be called more than once.
func (s *Instance) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		s.running.Wait()
		return nil
	}
	s.closed = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()

	var errs []error
	for _, c := range s.sockets {
		errs = append(errs, end(c))
	}
	s.running.Wait()
	s.ns.lab.forget(s)
	return errors.Join(errs...)
}

func (s *Instance) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the peer was gone before we looked
		}
		s.accepted.Add(1)
		if s.hold(conn) {
			s.running.Go(func() { s.echo(conn) })
		}
	}
}

// hold registers a connection for Close; after Close there is nobody left to end it.
func (s *Instance) hold(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return false
	}
	s.conns[conn] = true
	return true
}

func (s *Instance) echo(conn net.Conn) {
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		conn.Close()
	}()
	if _, err := io.WriteString(conn, s.id+"\n"); err != nil {
		return
	}
	// Hidden behind plain interfaces, or io.Copy would take a pipe (splice) for each of thousands of connections.
	// The 32 KiB that it takes by itself would cost more than the connection.
	_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{conn}, make([]byte, 4<<10))
}

func (s *Instance) answer(pc net.PacketConn) {
	prefix := []byte(s.id + " ")
	buf := make([]byte, 64<<10)
	for {
		n, from, err := pc.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			// An answer that cannot be sent is lost like any datagram: the client counts it.
			_, _ = pc.WriteTo(bytes.Join([][]byte{prefix, buf[:n]}, nil), from)
		}
	}
}
