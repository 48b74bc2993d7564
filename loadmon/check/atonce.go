package check

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// atOnce connects to an instance of this host without waiting: there the kernel has shaken hands, or refused to, when connect
// returns. It costs a fraction of a connection that is waited for, and most checks are such. Not done: it has to be waited
// for, as where the queue of connections is full or the instance is behind a bridge.
func atOnce(to netip.AddrPort) (done bool, err error) {
	fd, err := unix.Socket(familyOf(to.Addr()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return false, nil // it is tried again, and told, by who waits
	}
	defer unix.Close(fd)
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // as abort does
	switch err := unix.Connect(fd, sockaddrOf(to)); err {
	case nil:
		return true, nil
	case unix.ECONNREFUSED:
		return true, err
	case unix.EINPROGRESS:
		return outcomeOf(fd)
	}
	return false, nil
}

// outcomeOf is what became of a connection by now.
func outcomeOf(fd int) (done bool, err error) {
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
	if ready == 0 || err != nil {
		return false, nil
	}
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return false, nil
	case code != 0:
		return true, syscall.Errno(code)
	}
	return true, nil
}

func familyOf(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func sockaddrOf(to netip.AddrPort) unix.Sockaddr {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
}
