package sample

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

func listener(address string, proto cluster.Proto) cluster.Listener {
	return cluster.Listener{Address: netip.MustParseAddrPort(address), Proto: proto}
}

// Real sockets: of one address, of all addresses of IPv4, of both families, UDP.
func TestListeners(t *testing.T) {
	t.Parallel()
	var listeners []cluster.Listener
	for _, c := range []struct{ network, listen, ask string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1"}, {"tcp4", "0.0.0.0:0", "127.0.0.5"}, {"tcp", "[::]:0", "127.0.0.6"}, {"tcp6", "[::1]:0", "::1"},
	} {
		l, err := net.Listen(c.network, c.listen)
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		port := l.Addr().(*net.TCPAddr).AddrPort().Port()
		listeners = append(listeners, cluster.Listener{Address: netip.AddrPortFrom(netip.MustParseAddr(c.ask), port), Proto: cluster.TCP})
	}
	u, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(lab.Loopback())) // where nobody listens for TCP
	require.NoError(t, err)
	t.Cleanup(func() { _ = u.Close() })
	listeners = append(listeners, cluster.Listener{Address: u.LocalAddr().(*net.UDPAddr).AddrPort(), Proto: cluster.UDP})

	nobody := cluster.Listener{Address: listeners[4].Address, Proto: cluster.TCP}
	wanted := map[cluster.Listener]int{}
	for _, e := range listeners {
		wanted[e] = os.Getpid()
	}
	l := NewListeners()
	for range 2 { // the second time from memory
		found, err := l.Find(append(listeners, nobody))
		require.NoError(t, err)
		require.Equal(t, wanted, found)
	}
	require.Len(t, l.holders, len(listeners))
	_ = u.Close()
	require.Eventually(t, func() bool { // once no child is left that another test was starting and that has it, too
		found, err := l.Find(listeners)
		return err == nil && len(found) == len(listeners)-1
	}, 20*time.Second, time.Millisecond, "a socket that was closed")
	_, err = l.Find(nil)
	require.NoError(t, err)
	require.Empty(t, l.holders, "what nobody asks for is forgotten")
}

// A socket that goes over to another process is found there.
func TestListenerThatIsHandedOver(t *testing.T) {
	t.Parallel()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	e := cluster.Listener{Address: listener.Addr().(*net.TCPAddr).AddrPort(), Proto: cluster.TCP}
	file, err := listener.File()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), "sleep", "60")
	child.ExtraFiles = []*os.File{file}
	require.NoError(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	l := NewListeners()
	found, err := l.Find([]cluster.Listener{e})
	require.NoError(t, err)
	require.Equal(t, min(os.Getpid(), child.Process.Pid), found[e], "both have it")
	require.NoError(t, file.Close())
	require.NoError(t, listener.Close())
	found, err = l.Find([]cluster.Listener{e})
	require.NoError(t, err)
	require.Equal(t, child.Process.Pid, found[e])
}

// A socket whose process cannot be seen does not cost a search of all of /proc each time; one that is new is looked for at once.
func TestListenerThatIsNotFound(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	hold := func(pid, inode string) {
		dir := filepath.Join(root, pid, "fd")
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.Symlink("socket:["+inode+"]", filepath.Join(dir, "3")))
	}
	hold("17", "100")
	l := NewListeners()
	l.proc = root
	wanted := map[uint32]bool{100: true, 200: true}
	l.know(wanted)
	require.Equal(t, map[uint32]holder{100: {17, 3}}, l.holders)
	hold("18", "200")
	for range patience {
		l.know(wanted)
		require.Len(t, l.holders, 1)
	}
	l.know(wanted)
	require.Equal(t, map[uint32]holder{100: {17, 3}, 200: {18, 3}}, l.holders, "patience has an end")
	require.Empty(t, l.missed)

	l.know(map[uint32]bool{100: true, 300: true, 400: true})
	hold("19", "300")
	hold("20", "500")
	l.know(map[uint32]bool{100: true, 300: true, 400: true, 500: true})
	require.Equal(t, map[uint32]holder{100: {17, 3}, 300: {19, 3}, 500: {20, 3}}, l.holders, "the search for a new one finds the old one")
	require.Equal(t, map[uint32]int{400: patience - 1}, l.missed)
}

func TestMatchPrefersTheAddress(t *testing.T) {
	t.Parallel()
	sockets := map[cluster.Listener]uint32{
		listener("0.0.0.0:80", cluster.TCP): 1, listener("10.0.0.1:80", cluster.TCP): 2, listener("[::]:80", cluster.TCP): 3, listener("[::]:81", cluster.TCP): 4,
	}
	for address, want := range map[string]uint32{"10.0.0.1:80": 2, "10.0.0.2:80": 1, "[fd00::1]:80": 3, "10.0.0.1:81": 4, "10.0.0.1:82": 0} {
		inode, ok := match(sockets, listener(address, cluster.TCP))
		require.Equal(t, want, inode, address)
		require.Equal(t, want != 0, ok, address)
	}
	_, ok := match(sockets, listener("10.0.0.1:80", cluster.UDP))
	require.False(t, ok)
}

func TestDiagnoseShortMessage(t *testing.T) {
	t.Parallel()
	_, _, ok := diagnose(make([]byte, diagMessageLen-1), cluster.TCP)
	require.False(t, ok)
}
