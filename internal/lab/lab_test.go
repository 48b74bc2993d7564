package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/leaks"
)

const ownerFlag = "WEIR_LAB_TEST_OWNER"

func TestMain(m *testing.M) {
	BecomeWorker()
	if os.Getenv(ownerFlag) != "" {
		os.Exit(abandonLab())
	}
	leaks.Main(m)
}

// abandonLab is what the child process of TestNewReapsLabsOfDeadOwners does: it leaves a lab behind and dies.
func abandonLab() int {
	l, err := New("orphan")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c, err := NewCluster(l, 1, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	group, err := l.Cgroup("left", 0.1)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cmd := c.Client.Command("sleep", "600")
	if err := errors.Join(c.Client.Start(cmd), group.Add(cmd.Process.Pid)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(l.Prefix(), cmd.Process.Pid)
	_, _ = io.Copy(io.Discard, os.Stdin) // until killed
	return 0
}

func names(t *testing.T, prefix string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(runDir, prefix+"*"))
	require.NoError(t, err)
	return found
}

func TestCloseLeavesNothing(t *testing.T) {
	l := Test(t)
	before, err := netlink.LinkList()
	require.NoError(t, err)
	c, err := NewCluster(l, 1, 1)
	require.NoError(t, err)
	during, err := netlink.LinkList()
	require.NoError(t, err)
	require.Len(t, during, len(before), "links in the namespace of the caller")
	require.Len(t, names(t, l.Prefix()), 4, "switch, node, instance, client")

	server, err := Serve(c.Instances[0].Namespace, "a", netip.AddrPortFrom(c.Instances[0].Addr4, 80))
	require.NoError(t, err)
	stream, err := StartStream(c.Client.Namespace, StreamOptions{Frontend: netip.AddrPortFrom(c.Instances[0].Addr4, 80)})
	require.NoError(t, err)
	plain := c.Client.Command("sleep", "600")
	require.NoError(t, c.Client.Start(plain))
	grandchild := detachedGrandchild(t, c.Nodes[0])

	require.NoError(t, l.Close())
	require.Empty(t, names(t, l.Prefix()))
	require.ErrorContains(t, plain.Wait(), "killed")
	waitGone(t, grandchild)
	require.True(t, server.closed)
	require.Empty(t, l.prefixesAlive())
	stream.Stop() // returns: both loops are over

	require.NoError(t, l.Close(), "a second time")
	_, err = l.Namespace("late")
	require.ErrorIs(t, err, errClosed)
	require.ErrorIs(t, c.Client.Start(exec.Command("true")), errClosed)
}

func (l *Lab) prefixesAlive() []string {
	live.Lock()
	defer live.Unlock()
	if live.prefixes[l.prefix] {
		return []string{l.prefix}
	}
	return nil
}

// detachedGrandchild starts a process that has neither parent nor process group in common with what the lab started.
func detachedGrandchild(t *testing.T, h *Host) (pidfd int) {
	t.Helper()
	out, err := h.Output("sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!")
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscan(string(out), &pid)
	require.NoError(t, err)
	fd, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)
	return fd
}

// waitGone waits for the end of a process by its pidfd, which cannot be mistaken for another process.
func waitGone(t *testing.T, pidfd int) {
	t.Helper()
	defer unix.Close(pidfd)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	require.NoError(t, err)
	require.Equal(t, 1, n, "process still runs")
}

func TestLinksGoEvenWhenSocketsStay(t *testing.T) {
	l := Test(t)
	a, err := l.Namespace("a")
	require.NoError(t, err)
	outside, err := l.Namespace("b")
	require.NoError(t, err)
	require.NoError(t, l.Connect(a, outside, "left", "right",
		netip.MustParsePrefix("10.0.0.1/24"), netip.MustParsePrefix("10.0.0.2/24")))
	ln, err := a.Listen("tcp", "10.0.0.1:80")
	require.NoError(t, err)
	defer ln.Close()

	require.NoError(t, deleteLinks(a.Path()))
	links, err := outside.Handle().LinkList()
	require.NoError(t, err)
	for _, link := range links {
		require.NotEqual(t, "right", link.Attrs().Name)
	}
}

func TestNewReapsLabsOfDeadOwners(t *testing.T) {
	mine := Test(t)
	kept, err := mine.Namespace("kept")
	require.NoError(t, err)

	owner := exec.Command(os.Args[0])
	owner.Env = append(os.Environ(), ownerFlag+"=1")
	owner.Stderr = os.Stderr
	_, err = owner.StdinPipe()
	require.NoError(t, err)
	out, err := owner.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, owner.Start())
	var prefix string
	var pid int
	_, err = fmt.Fscan(out, &prefix, &pid)
	require.NoError(t, err)
	orphan, err := unix.PidfdOpen(pid, 0)
	require.NoError(t, err)

	next, err := New("next")
	require.NoError(t, err)
	defer next.Close()
	require.Len(t, names(t, prefix), 3, "its owner is alive")
	require.NotEmpty(t, groupsOf(t, prefix))

	require.NoError(t, owner.Process.Kill())
	require.Error(t, owner.Wait())
	require.Len(t, names(t, prefix), 3, "a killed owner cleans nothing")
	after, err := New("after")
	require.NoError(t, err)
	defer after.Close()
	require.Empty(t, names(t, prefix))
	require.Empty(t, groupsOf(t, prefix))
	waitGone(t, orphan)
	require.FileExists(t, kept.Path())
}

func TestReapTellsOwnLabsFromLeftoversWithTheSamePid(t *testing.T) {
	l := Test(t)
	ns, err := l.Namespace("a")
	require.NoError(t, err)
	stale := fmt.Sprintf("weir-gone-%d-999999-n1", os.Getpid())
	require.NoError(t, os.WriteFile(filepath.Join(runDir, stale), nil, 0o444))
	foreign := "weirdo-1-1-n1"
	require.NoError(t, os.WriteFile(filepath.Join(runDir, foreign), nil, 0o444))
	defer os.Remove(filepath.Join(runDir, foreign))

	require.NoError(t, reap())
	require.NoFileExists(t, filepath.Join(runDir, stale))
	require.FileExists(t, filepath.Join(runDir, foreign))
	require.FileExists(t, ns.Path())
}

func TestTwoLabsAtOnce(t *testing.T) {
	for _, id := range []string{"one", "two"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			c, err := NewCluster(Test(t), 1, 1)
			require.NoError(t, err)
			frontend := netip.AddrPortFrom(c.Instances[0].Addr4, 80)
			_, err = Serve(c.Instances[0].Namespace, id, frontend)
			require.NoError(t, err)
			r, err := Flood(t.Context(), c.Client.Namespace, Load{Frontend: frontend, Connections: 50})
			require.NoError(t, err)
			require.Equal(t, map[string]int{id: 50}, r.ByID)
		})
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "a-b", "A", "a/b", strings.Repeat("a", 25)} {
		_, err := New(name)
		require.Error(t, err, name)
	}
	require.Equal(t, "floodtcp", shortName("TestFlood/tcp"))
	require.Equal(t, "test", shortName("Test"))
	require.Len(t, shortName("TestWithAVeryLongNameThatGoesOnAndOn"), 24)

	l := Test(t)
	_, err := l.Namespace("a/b")
	require.Error(t, err)
	first, err := l.Namespace("twice")
	require.NoError(t, err)
	_, err = l.Namespace("twice")
	require.ErrorIs(t, err, os.ErrExist)
	require.FileExists(t, first.Path(), "a refused second one must not remove the first")
}

func TestDoComesBack(t *testing.T) {
	l := Test(t)
	ns, err := l.Namespace("a")
	require.NoError(t, err)
	inside, err := os.Stat(ns.Path())
	require.NoError(t, err)
	for range 50 {
		err := ns.Do(func() error {
			here, err := os.Stat("/proc/thread-self/ns/net")
			if err == nil && !os.SameFile(inside, here) {
				err = fmt.Errorf("not inside %s", ns.Name())
			}
			return err
		})
		require.NoError(t, err)
		here, err := os.Stat("/proc/thread-self/ns/net")
		require.NoError(t, err)
		require.False(t, os.SameFile(inside, here), "the caller is inside")
	}
	require.ErrorIs(t, ns.Do(func() error { return io.ErrNoProgress }), io.ErrNoProgress)
}

func TestSysctl(t *testing.T) {
	l := Test(t)
	a, err := l.Namespace("a")
	require.NoError(t, err)
	b, err := l.Namespace("b")
	require.NoError(t, err)
	host, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	require.NoError(t, err)

	require.NoError(t, a.Sysctl("net.ipv4.ip_forward", "1"))
	require.NoError(t, b.Sysctl("net.ipv4.ip_forward", "0"))
	for ns, want := range map[*Namespace]string{a: "1\n", b: "0\n"} {
		out, err := ns.Output("cat", "/proc/sys/net/ipv4/ip_forward")
		require.NoError(t, err)
		require.Equal(t, want, string(out), ns.Name())
	}
	after, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	require.NoError(t, err)
	require.Equal(t, string(host), string(after), "the host's value")
	require.Error(t, a.Sysctl("kernel.panic", "1"))
	require.Error(t, a.Sysctl("net.ipv4/../../kernel.panic", "1"))
}

func TestOutputCarriesTheReason(t *testing.T) {
	l := Test(t)
	ns, err := l.Namespace("a")
	require.NoError(t, err)
	_, err = ns.Output("sh", "-c", "echo broken >&2; exit 3")
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "broken")
}

func TestDialFromInside(t *testing.T) {
	l := Test(t)
	ns, err := l.Namespace("a")
	require.NoError(t, err)
	_, err = Serve(ns, "me", netip.MustParseAddrPort("127.0.0.1:4711"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := ns.Dial(ctx, "tcp", "127.0.0.1:4711")
	require.NoError(t, err)
	defer conn.Close()
	id, err := readID(conn)
	require.NoError(t, err)
	require.Equal(t, "me", id)
}

// A machine that loses its power: everything in it is dead, also what has a session of its own, and nobody reaches it.
func TestKillAndPlug(t *testing.T) {
	l := Test(t)
	c, err := NewCluster(l, 0, 2)
	require.NoError(t, err)
	host, other := c.Instances[0], c.Instances[1]
	cmd := host.Command("sh", "-c", "setsid sh -c 'sleep 1000 & sleep 1000' & wait")
	require.NoError(t, host.Start(cmd))
	inside := func() int {
		pids, err := os.ReadDir("/proc")
		require.NoError(t, err)
		var want, got unix.Stat_t
		require.NoError(t, unix.Stat(host.Path(), &want))
		n := 0
		for _, p := range pids {
			if unix.Stat("/proc/"+p.Name()+"/ns/net", &got) == nil && got.Ino == want.Ino && got.Dev == want.Dev && p.Name() != "self" && p.Name() != "thread-self" {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return inside() == 4 }, patience, time.Millisecond)
	require.NoError(t, host.Kill())
	require.Zero(t, inside())
	require.Error(t, cmd.Wait())
	require.NoError(t, host.Kill(), "nobody is left")

	ping := func() error {
		_, err := other.Output("ping", "-c1", "-W1", host.Addr4.String())
		return err
	}
	reached := func() bool { return ping() == nil }
	require.Eventually(t, reached, patience, time.Millisecond)
	require.NoError(t, c.Switch.Plug(host.Namespace, false))
	require.Error(t, ping())
	require.NoError(t, c.Switch.Plug(host.Namespace, true))
	require.Eventually(t, reached, patience, time.Millisecond)
}
