package sample

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// Only instances of this node are asked, at addresses that they have and that the configuration allows.
func TestWhoIsAsked(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	d.Config(&cluster.Config{InstanceNetworks: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")}})
	instance := func(id, addr string) cluster.Instance {
		return cluster.Instance{ID: id, Addr: netip.MustParseAddr(addr), Ports: map[string]uint16{"web": 8080, "admin": 9000}, Weight: 1}
	}
	vip := byte(0)
	add := func(name string, source *cluster.LoadSource, instances ...cluster.Instance) {
		vip++
		d.Service(name, &cluster.Service{
			Name: name, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 1, vip})}, CreateRevision: 1, ModRevision: 1, Load: source,
			Ports:     []cluster.Port{{Name: "dns", Port: 53, Protocol: cluster.UDP}, {Name: "web", Port: 80, Protocol: cluster.TCP}, {Name: "admin", Port: 81, Protocol: cluster.TCP}},
			Instances: instances,
		})
	}
	here, there := instance("here", "192.168.1.1"), instance("there", "192.168.1.2")
	add("first", &cluster.LoadSource{HTTP: "/load"}, here, there, instance("outside", "10.0.0.1"))
	add("named", &cluster.LoadSource{HTTP: "/load", Port: "admin"}, here)
	add("agent", &cluster.LoadSource{Agent: 7777}, here)
	add("silent", nil, here)
	without := here
	without.Ports = map[string]uint16{"admin": 9000}
	add("portless", &cluster.LoadSource{HTTP: "/load"}, without)
	d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("10.0.0.1")}})
	d.Node("n2", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.2")}})

	a := NewAsker(AskerOptions{Node: "n1"})
	a.Want(d.Snapshot(1))
	require.Equal(t, map[string][]ask{
		"first": {{ID{"first", "here"}, netip.MustParseAddrPort("192.168.1.1:8080"), "/load"}},
		"named": {{ID{"named", "here"}, netip.MustParseAddrPort("192.168.1.1:9000"), "/load"}},
		"agent": {{ID{"agent", "here"}, netip.MustParseAddrPort("192.168.1.1:7777"), ""}},
	}, a.services)
	nobody := NewAsker(AskerOptions{})
	nobody.Want(d.Snapshot(1))
	require.Empty(t, nobody.services)

	d.Service("first", nil)
	a.Want(d.Snapshot(2))
	require.NotContains(t, a.services, "first")
}

func addressOf(t testing.TB, a net.Addr) netip.AddrPort {
	t.Helper()
	return a.(*net.TCPAddr).AddrPort()
}

// serve answers HTTP on loopback.
func serve(t *testing.T, handler http.HandlerFunc) netip.AddrPort {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return addressOf(t, s.Listener.Addr())
}

// agent answers every connection on loopback.
func agent(t *testing.T, answer func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	return addressOf(t, l.Addr())
}

func saying(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// flood writes a text, and blanks until the other end has enough.
func flood(c net.Conn, text string) {
	for _, err := io.WriteString(c, text); err == nil; _, err = io.WriteString(c, strings.Repeat(" ", 100)) {
	}
}

func TestAskByHTTP(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Method + " " + r.RequestURI)
		_, _ = io.WriteString(w, `{"utilization": 0.6, "more": [1]}`)
	})
	given, err := ask{address: address, path: "//load%2F1?x=%20y"}.put(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 0.6, *given.utilization, 1e-9)
	require.Equal(t, "GET //load%2F1?x=%20y", asked.Load())
}

func TestAskByHTTPInVain(t *testing.T) {
	t.Parallel()
	var led atomic.Int32
	elsewhere := serve(t, func(http.ResponseWriter, *http.Request) { led.Add(1) })
	body := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	for want, handler := range map[string]http.HandlerFunc{
		"its utilization 1.01 is outside 0..1":                          body(`{"utilization": 1.01}`),
		"its utilization -0.1 is outside 0..1":                          body(`{"utilization": -0.1}`),
		"its utilization 1e+308 is outside 0..1":                        body(`{"utilization": 1e308}`),
		`cannot be read: it is no JSON from byte 17 on: "NaN}"`:         body(`{"utilization": NaN}`),
		"cannot be read: utilization is 1e999, and a number is wanted":  body(`{"utilization": 1e999}`),
		`cannot be read: utilization is "0.5", and a number is wanted`:  body(`{"utilization": "0.5"}`),
		`has no "utilization"`:                                          body(`{"utilization": null}`),
		`cannot be read: it is no JSON from byte 1 on: "\\x00\\x1b[2J"`: body("\x00\x1b[2J"),
		"cannot be read: it is empty":                                   body(""),
		"its answer is larger than 4096 bytes":                          body(strings.Repeat(" ", 4096) + "{}"),
		"it answers 503":                                                func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"it answers 302: redirects are not followed": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+elsewhere.String()+"/", http.StatusFound)
		},
		"its header is larger than 16384 bytes": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 30<<10)) },
		"no answer within 1s":                   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		_, err := ask{address: serve(t, handler), path: "/load"}.put(t.Context())
		require.ErrorContains(t, err, want)
	}
	require.Zero(t, led.Load())
	_, err := ask{address: agent(t, func(c net.Conn) { flood(c, "HTTP/1.1 200 OK\r\n\r\n") }), path: "/"}.put(t.Context())
	require.ErrorContains(t, err, "its answer is larger than 4096 bytes")
	_, err = ask{address: agent(t, saying("\x00\xff nonsense\r\n\r\n")), path: "/"}.put(t.Context())
	require.ErrorContains(t, err, "malformed HTTP")
	_, err = ask{address: netip.MustParseAddrPort("127.0.0.1:1"), path: "/"}.put(t.Context())
	require.EqualError(t, err, "dial: connect: connection refused")
	_, err = ask{address: netip.MustParseAddrPort("127.0.0.1:1"), path: "/%zz"}.put(t.Context())
	require.ErrorContains(t, err, "invalid URL escape")
}

func TestAskAnAgent(t *testing.T) {
	t.Parallel()
	given, err := ask{address: agent(t, func(c net.Conn) {
		for _, part := range []string{"up", " 7", "5% # fi", "ne\n"} { // in pieces, and the connection stays open
			_, _ = io.WriteString(c, part)
			time.Sleep(time.Millisecond)
		}
		_, _ = c.Read(make([]byte, 1))
	})}.put(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Word{{Up, "fine"}}, given.words())
	require.InDelta(t, 0.75, *given.wish, 1e-9)

	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for want, answer := range map[string]func(net.Conn){
		"its answer has no end of line": saying("75%"),
		"no answer within 1s":           func(net.Conn) { <-hang },
	} {
		_, err := ask{address: agent(t, answer)}.put(t.Context())
		require.ErrorContains(t, err, want)
	}
	_, err = ask{address: agent(t, func(c net.Conn) { flood(c, "up") })}.put(t.Context())
	require.ErrorIs(t, err, errUnfinished)
	_, err = ask{address: netip.MustParseAddrPort("127.0.0.1:1")}.put(t.Context())
	require.ErrorContains(t, err, "refused")
}
