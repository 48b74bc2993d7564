package check

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// accepted says by its error whether a connection is accepted, and resets it. To an instance of this host that is five calls
// of the kernel, and no waiting; the library's dialer makes twelve, parks the goroutine and has it woken. A node makes
// hundreds of these a second.
func accepted(ctx context.Context, to netip.AddrPort) error {
	fd, err := begin(to)
	if err != nil {
		return err
	}
	defer func() {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // as abort does
		_ = unix.Close(fd)
	}()
	if done, err := connected(fd); done {
		return err
	}
	return await(ctx, fd)
}

// begin starts to connect.
func begin(to netip.AddrPort) (fd int, err error) {
	family, where := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, where = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("make a socket: %w", err)
	}
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

// await waits until the attempt is over, or the context is.
func await(ctx context.Context, fd int) (err error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	file := os.NewFile(uintptr(own), "connection")
	defer file.Close()
	stop := context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = conn.Write(func(fd uintptr) (done bool) {
		done, result = connected(int(fd))
		return done
	})
	if err != nil {
		return err
	}
	return result
}
