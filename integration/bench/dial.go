package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/lab"
)

// Connections are opened by bare system calls on one thread, which also accepts them: so nothing is measured but the
// kernel's work for one connection, neither Go's poller nor the waking of another thread.

const instancePort = 8080

// acceptor is a listening socket that takes connections to any address of its namespace.
type acceptor int

func newAcceptor(t *trial, ns *lab.Namespace) acceptor {
	fd := -1
	t.must(ns.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return errors.Join(
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}),
			unix.Bind(fd, &unix.SockaddrInet4{Port: instancePort}),
			unix.Listen(fd, 1024),
		)
	}))
	t.Cleanup(func() { t.must(unix.Close(fd)) })
	return acceptor(fd)
}

// connect opens a connection, accepts it on the other side and resets it, so that no TIME_WAIT is left. It returns the
// time of the connect alone. It must run inside the client's namespace.
func (a acceptor) connect(to *unix.RawSockaddrInet4) (time.Duration, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	err = errors.Join(
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_SYNCNT, 1), // gives up after three seconds; a time-out would make signals interrupt
	)
	if err != nil {
		return 0, fmt.Errorf("set socket options: %w", err)
	}
	start := time.Now()
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(to)), unix.SizeofSockaddrInet4)
	took := time.Since(start)
	if errno != 0 {
		return 0, fmt.Errorf("connect: %w", errno)
	}
	return took, a.take()
}

// take accepts and closes one connection.
func (a acceptor) take() error {
	for {
		other, _, err := unix.Accept4(int(a), unix.SOCK_CLOEXEC)
		switch {
		case err == nil:
			return unix.Close(other)
		case !errors.Is(err, unix.EINTR): // the runtime signals threads to preempt them
			return fmt.Errorf("accept: %w", err)
		}
	}
}

func rawAddress(a netip.AddrPort) *unix.RawSockaddrInet4 {
	port := a.Port()
	return &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port<<8 | port>>8, Addr: a.Addr().As4()}
}
