package nft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/rules"
)

// A closed driver's tables belong to nobody, even if it was closed while a child was between its fork and its own program.
func TestCloseGivesTheTablesUp(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	want := story()
	owner := open(t, ns, OwnAuto)
	install(t, owner, want)
	childs := copyOf(t, ns, owner.portID)
	time.AfterFunc(50*time.Millisecond, func() { _ = unix.Close(childs) })
	require.NoError(t, owner.Close())
	require.Zero(t, rules.Diff(read(t, open(t, ns, OwnOff)), want).Writes())
}

func TestCloseTellsOfAChildThatKeepsTheTables(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	owner := open(t, ns, OwnAuto)
	install(t, owner, story())
	childs := copyOf(t, ns, owner.portID)
	require.ErrorContains(t, owner.Close(), "still belong to netlink port")
	_, err := open(t, ns, OwnOff).Read(t.Context())
	require.ErrorIs(t, err, rules.ErrOwned)
	require.NoError(t, unix.Close(childs))
}

// copyOf is the nftables socket of a netlink port once more, as a child has it.
func copyOf(t *testing.T, ns int, portID uint32) int {
	const enough = 4096
	for fd := range enough {
		address, err := unix.Getsockname(fd)
		if netlink, ok := address.(*unix.SockaddrNetlink); err != nil || !ok || netlink.Pid != portID {
			continue
		}
		if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || protocol != unix.NETLINK_NETFILTER {
			continue
		}
		if !inNamespace(t, fd, ns) {
			continue // ports are counted in each
		}
		twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		require.NoError(t, err)
		return twin
	}
	require.FailNow(t, "no such socket")
	return 0
}

func inNamespace(t *testing.T, socket, ns int) bool {
	its, err := unix.IoctlRetInt(socket, unix.SIOCGSKNS)
	if err != nil {
		return false // of another test, and closed by now
	}
	defer func() { require.NoError(t, unix.Close(its)) }()
	var a, b unix.Stat_t
	require.NoError(t, unix.Fstat(its, &a))
	require.NoError(t, unix.Fstat(ns, &b))
	return a.Dev == b.Dev && a.Ino == b.Ino
}
