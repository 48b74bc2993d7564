package nft

import (
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// Rules that go while those of another driver translate as well harm nobody: no packet meets a half of them. That is met by
// one packet in some thousand that are on their way at that moment, so there are many, and the rules go often.
func TestRulesThatGoHarmNobody(t *testing.T) {
	ns := namespace(t)
	for _, command := range [][]string{
		{"ip", "link", "set", "lo", "up"},
		{"ip", "address", "add", "192.168.10.1/32", "dev", "lo"},
		{"ip", "route", "add", "local", "10.10.1.0/24", "dev", "lo"},
	} {
		out, err := inside(ns, "", command...)
		require.NoError(t, err, out)
	}
	nft(t, ns, `add table ip other
add chain ip other output { type nat hook output priority -99; }
add rule ip other output ip daddr 10.10.1.1 udp dport 53 dnat to 192.168.10.1:5353
`)
	s := service("a", "10.10.1.1", 53, "192.168.10.1:5353")
	s.Ports[0].Protocol = cluster.UDP
	want, d := build(rules.Options{}, s), open(t, ns, OwnOff)

	stop, ended := make(chan struct{}), make(chan error, 1)
	sent := 0
	go func() { ended <- datagrams(ns, stop, &sent) }()
	for range 150 {
		install(t, d, want)
		require.NoError(t, d.Clean(t.Context()))
	}
	close(stop)
	require.NoError(t, <-ended)
	t.Logf("%d connections", sent)
	require.Greater(t, sent, 1000)
}

// datagrams sends from one port after the other to the service a, until it is told to stop or one is refused or dropped.
func datagrams(ns int, stop <-chan struct{}, sent *int) error {
	runtime.LockOSThread() // and the thread ends with it
	if err := netns.Set(netns.NsHandle(ns)); err != nil {
		return err
	}
	server, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(server)
	if err := unix.Bind(server, &unix.SockaddrInet4{Port: 5353, Addr: [4]byte{192, 168, 10, 1}}); err != nil {
		return err
	}
	for ; ; *sent++ {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := datagram(); err != nil {
			return err
		}
	}
}

// datagram sends one. What refuses it over lo has done so before the write returns.
func datagram() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 53, Addr: [4]byte{10, 10, 1, 1}}); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte("x")); errors.Is(err, unix.EPERM) {
		return errors.New("dropped")
	} else if err != nil {
		return err
	}
	if e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || e != 0 {
		return errors.Join(err, unix.Errno(e))
	}
	return nil
}
