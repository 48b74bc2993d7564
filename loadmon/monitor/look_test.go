package monitor

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

// A look goes to instances and nowhere else, whoever asks for what.
func TestInstancesAmong(t *testing.T) {
	t.Parallel()
	one, two := netip.MustParseAddrPort("192.168.1.1:80"), netip.MustParseAddrPort("192.168.1.2:81")
	s := published(t, nil, []string{one.String(), two.String(), "127.0.0.1:22"}, []string{one.String()})
	among := func(addresses ...string) []netip.AddrPort {
		var asked []netip.AddrPort
		for _, a := range addresses {
			asked = append(asked, netip.MustParseAddrPort(a))
		}
		return instancesAmong(s, asked)
	}
	require.ElementsMatch(t, []netip.AddrPort{one, two}, among("192.168.1.1:80", "192.168.1.2:81", "192.168.1.1:80"))
	for name, address := range map[string]string{
		"loopback, which is refused for instances": "127.0.0.1:22", "another port": "192.168.1.1:81", "nobody's": "192.168.1.3:80", "a VIP": "10.10.1.1:80",
		"metadata": "169.254.169.254:80", "mapped": "[::ffff:192.168.1.1]:80",
	} {
		require.Empty(t, among(address), name)
	}
	in, _ := s.Services.Get("b")
	in.Service.Ports[0].Protocol = cluster.UDP
	in, _ = s.Services.Get("a")
	in.Service.Ports[0].Protocol = cluster.UDP
	require.Empty(t, among("192.168.1.1:80"), "UDP cannot be looked at")
}

// silent is a listener whose queue is full: it answers no connection, not even by refusing.
func silent(t testing.TB) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	require.NoError(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, unix.Listen(fd, 0))
	name, err := unix.Getsockname(fd)
	require.NoError(t, err)
	address := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	conn, err := net.Dial("tcp", address.String()) // the one that it takes
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.Eventually(t, func() bool {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		return err == nil && info.Unacked == 1 // of a listener: connections that nobody accepted yet
	}, 20*time.Second, time.Millisecond)
	return address
}

// What does not answer does not hold up what does.
func TestDial(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	open, quiet, nobody := l.Addr().(*net.TCPAddr).AddrPort(), silent(t), netip.MustParseAddrPort("127.0.0.1:1")
	addresses := []netip.AddrPort{open, nobody}
	for range MaxLook {
		addresses = append(addresses, quiet)
	}
	begin := time.Now()
	answers := dial(t.Context(), addresses)
	require.Less(t, time.Since(begin), 20*lookWait, "one after the other it would take minutes")
	require.Equal(t, map[netip.AddrPort]bool{open: true, nobody: false, quiet: false}, answers)
}

func TestLook(t *testing.T) {
	t.Parallel()
	m := newMonitor(t, Config{})
	m.Deliver(published(t, n1, []string{"127.0.0.1:1"}))
	n := &cluster.Node{Monitor: "http://" + served(t, m).String()}
	c := client(t, token)
	answers, err := c.Look(t.Context(), "n1", n, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("192.0.2.1:80")})
	require.NoError(t, err)
	require.Equal(t, map[netip.AddrPort]bool{}, answers, "neither may be dialled")
	_, err = c.Look(t.Context(), "n1", n, make([]netip.AddrPort, MaxLook+1))
	require.ErrorContains(t, err, "257 addresses are more than 256")

	for range maxLooks {
		m.looks <- struct{}{}
	}
	_, err = c.Look(t.Context(), "n1", n, nil)
	require.ErrorContains(t, err, "503 Service Unavailable: too many looks at once")
	<-m.looks
	_, err = c.Look(t.Context(), "n1", n, nil)
	require.NoError(t, err)
}

// A node that says more than it was asked for does not make others believe it.
func TestAnswersThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, Seen{map[netip.AddrPort]bool{netip.MustParseAddrPort("192.0.2.1:80"): true, netip.MustParseAddrPort("192.0.2.2:80"): true}})
	}))
	t.Cleanup(server.Close)
	asked := netip.MustParseAddrPort("192.0.2.2:80")
	answers, err := client(t, token).Look(t.Context(), "n1", &cluster.Node{Monitor: server.URL}, []netip.AddrPort{asked, netip.MustParseAddrPort("192.0.2.3:80")})
	require.NoError(t, err)
	require.Equal(t, map[netip.AddrPort]bool{asked: true}, answers)
}

func TestLooksThatAreRefused(t *testing.T) {
	t.Parallel()
	m := newMonitor(t, Config{})
	require.Equal(t, http.StatusServiceUnavailable, ask(t, m, token, "POST", "/v1/look", "{}").Code, "no snapshot yet")
	m.Deliver(published(t, n1))
	many := make([]netip.AddrPort, MaxLook+1)
	for i := range many {
		many[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 1}), uint16(i+1))
	}
	text, err := json.Marshal(Look{many})
	require.NoError(t, err)
	for _, body := range []string{
		"", "[]", `{"addresses":["nowhere"]}`, `{"addresses":["127.0.0.1"]}`, `{"addresses":[80]}`, string(text),
		`{"addresses":["` + strings.Repeat("x", maxBody) + `"]}`, "{" + strings.Repeat(" ", maxBody) + "}",
	} {
		w := ask(t, m, token, "POST", "/v1/look", body)
		require.Equal(t, http.StatusBadRequest, w.Code, fmt.Sprintf("%.60s", body))
		require.Equal(t, "close", w.Header().Get("Connection"))
	}
	require.JSONEq(t, `{"answers":{}}`, body(t, m, token, "POST", "/v1/look", `{"addresses":[],"later":1}`))
}

// What comes from outside is never dialled for being written well.
func FuzzLook(f *testing.F) {
	f.Add([]byte(`{"addresses":["192.168.1.1:80"]}`))
	f.Add([]byte(`{"addresses":["[::1]:1","127.0.0.1:22","0.0.0.0:0","10.10.1.1:80"]}`))
	m := newMonitor(f, Config{})
	m.Deliver(published(f, n1, []string{"192.168.1.1:80"}))
	f.Fuzz(func(t *testing.T, text []byte) {
		var asked Look
		if json.Unmarshal(text, &asked) != nil {
			return
		}
		for _, address := range instancesAmong(m.newest(), asked.Addresses) {
			require.Equal(t, "192.168.1.1:80", address.String())
		}
	})
}
