package check

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a TCP connection, or the attempt at one. When it is closed it is reset: a thousand checks a second that end
// politely would leave tens of thousands of waiting sockets and tracked connections behind.
//
// The library's dialer makes twelve system calls, and parks the goroutine, where to an instance of this host five do, without
// any waiting: there the kernel has shaken hands, or refused to, when connect returns. A node makes hundreds of these a second.
type socket struct{ *os.File }

// LocalAddr and RemoteAddr make it a net.Conn. Nobody asks.
func (socket) LocalAddr() net.Addr { return nil }

// RemoteAddr is not known.
func (socket) RemoteAddr() net.Addr { return nil }

// begin starts to connect.
func begin(to netip.AddrPort) (fd int, err error) {
	family, where := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, where = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP); err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // of no time: a reset
	if err := unix.Connect(fd, where); err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// connected says whether the attempt is over, and how it ended.
func connected(fd int) (done bool, err error) {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for {
		_, err = unix.Poll(set, 0)
		if err != unix.EINTR {
			break
		}
	}
	switch {
	case err != nil:
		return true, fmt.Errorf("poll: %w", err)
	case set[0].Revents == 0:
		return false, nil
	case set[0].Revents&(unix.POLLERR|unix.POLLHUP) == 0:
		return true, nil
	}
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && code != 0 {
		err = unix.Errno(code)
	}
	if err != nil {
		return true, fmt.Errorf("connect: %w", err)
	}
	return true, nil // accepted, and closed again at once
}

// dial connects to an instance. The connection ends with the context; end is to be called in any case.
func dial(ctx context.Context, to netip.AddrPort) (conn net.Conn, end func(), err error) {
	fd, err := begin(to)
	if err != nil {
		return nil, nil, err
	}
	return adopt(ctx, fd)
}

// adopt waits until the attempt is over.
func adopt(ctx context.Context, fd int) (conn net.Conn, end func(), err error) {
	s := socket{os.NewFile(uintptr(fd), "connection")}
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	end = func() {
		stop()
		_ = s.Close()
	}
	if err := s.await(); err != nil {
		end()
		return nil, nil, err
	}
	return s, end, nil
}

func (s socket) await() (err error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Write(func(fd uintptr) (done bool) {
		done, result = connected(int(fd))
		return done
	})
	if err != nil {
		return err
	}
	return result
}
