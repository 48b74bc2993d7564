package integration

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// udpFlow sends a datagram every few milliseconds from one source port, as a client does that opens one socket for good.
type udpFlow struct {
	conn *net.UDPConn
	done sync.WaitGroup
	quit chan struct{}

	mu   sync.Mutex
	last string    // who answered last
	at   time.Time // when
}

func (w *World) udpFlow(from *lab.Host, f cluster.Frontend, port int) *udpFlow {
	w.t.Helper()
	u := &udpFlow{quit: make(chan struct{})}
	require.NoError(w.t, from.Do(func() (err error) {
		u.conn, err = net.DialUDP("udp", &net.UDPAddr{Port: port}, net.UDPAddrFromAddrPort(Address(f)))
		return err
	}))
	u.done.Go(u.send)
	u.done.Go(u.receive)
	w.t.Cleanup(u.stop)
	return u
}

func (u *udpFlow) send() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-u.quit:
			return
		case <-tick.C:
			_, _ = u.conn.Write([]byte("x")) // refusals arrive here too; the client goes on
		}
	}
}

func (u *udpFlow) receive() {
	buf := make([]byte, 200)
	for {
		n, err := u.conn.Read(buf)
		select {
		case <-u.quit:
			return
		default:
		}
		if err != nil {
			continue // refused: the datagram after next may be answered
		}
		id, _, _ := bytes.Cut(buf[:n], []byte(" "))
		u.mu.Lock()
		u.last, u.at = string(id), time.Now()
		u.mu.Unlock()
	}
}

func (u *udpFlow) stop() {
	close(u.quit)
	u.conn.Close()
	u.done.Wait()
}

// answered says who answered since a moment, or "".
func (u *udpFlow) answered(since time.Time) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.at.Before(since) {
		return ""
	}
	return u.last
}

// TestUDPFlow keeps one UDP flow through all that may happen to the instance behind it. The kernel would hold it there.
func TestUDPFlow(t *testing.T) {
	w := world(t, Options{})
	for _, v6 := range []bool{false, true} {
		instances := w.ServeAll(2, v6)
		for place, from := range map[string]*lab.Host{"node-local": w.Nodes[0], "forwarded": w.Client} {
			name := fmt.Sprintf("v6-%t %s", v6, place)
			t.Run(name, func(t *testing.T) {
				w, f := w.With(t), w.Frontend(cluster.UDP, v6)
				publish := func(instances ...string) { w.Publish(Service(strings.ReplaceAll(name, " ", "-"), f, instances...)) }
				publish(instances[0])
				u := w.udpFlow(from, f, 4242)
				answered := func(by string) func() bool {
					since := time.Now()
					return func() bool { return u.answered(since) == by }
				}
				w.Eventually(5*time.Second, "the first instance answers", answered(instances[0]))

				publish(instances[1])
				moved := w.Eventually(time.Second+promised, "the flow moves", answered(instances[1]))

				publish()
				w.Eventually(time.Second+promised, "nobody answers", func() bool {
					since := time.Now()
					<-time.After(100 * time.Millisecond) // twenty datagrams
					return u.answered(since) == ""
				})
				publish(instances[0])
				back := w.Eventually(time.Second+promised, "the flow comes back", answered(instances[0]))
				t.Logf("moved after %s, back from none after %s, both counted from the nodes' own word", moved.Round(time.Millisecond), back.Round(time.Millisecond))
			})
		}
	}
}

// TestUDPFlowWithoutRules binds a flow while our rules are away and another program keeps connection tracking alive: it
// leads to the VIP itself, and every datagram renews that.
func TestUDPFlowWithoutRules(t *testing.T) {
	t.Parallel()
	for _, owner := range owners {
		t.Run(owner, func(t *testing.T) {
			t.Parallel()
			w := world(t, Options{Owner: owner})
			f, instances, a := w.Frontend(cluster.UDP, false), w.ServeAll(1, false), w.Agents[0]
			w.Publish(Service("a", f, instances...))
			a.Kill()
			w.NFT(w.Nodes[0], "table ip other { chain c { type filter hook prerouting priority 0; ct state established accept; }; }")
			w.Unrule(w.Nodes[0])
			var flows []*udpFlow
			for i, from := range []*lab.Host{w.Nodes[0], w.Client} {
				flows = append(flows, w.udpFlow(from, f, 4242+i))
			}
			w.Eventually(5*time.Second, "both flows are bound to the VIP itself", func() bool { return w.Flows(w.Nodes[0], f, f.VIP) == 2 })
			start := time.Now()
			a.Start()
			for _, u := range flows {
				w.Eventually(5*time.Second, "the flow recovers", func() bool { return u.answered(start) == instances[0] })
			}
			require.Zero(t, w.Flows(w.Nodes[0], f, f.VIP))
			t.Logf("both flows recovered %s after the start of the process", time.Since(start).Round(time.Millisecond))
		})
	}
}

// vipRoutes are the routes of the agent on a node.
func (w *World) vipRoutes(node *lab.Host) string {
	w.t.Helper()
	out := ""
	for _, family := range []string{"-4", "-6"} {
		text, err := node.Output("ip", family, "route", "show", "proto", "87")
		require.NoError(w.t, err)
		out += string(text)
	}
	return out
}

// TestRoutes takes away what leads clients on the node to the rules, and changes the node's address.
func TestRoutes(t *testing.T) {
	t.Parallel()
	w := world(t, Options{})
	node, pools := w.Nodes[0], []netip.Prefix{VIPs4, VIPs6}
	w.Commit(cluster.SetConfig{Config: &cluster.Config{VIPPools: pools}})
	f4, f6 := w.Frontend(cluster.TCP, false), w.Frontend(cluster.TCP, true)
	four, six := w.ServeAll(2, false), w.ServeAll(2, true)
	w.Publish(Service("four", f4, four...), Service("six", f6, six...))
	sound := w.vipRoutes(node)
	require.Contains(t, sound, "10.10.0.0/16 dev weir0 scope link src "+node.Addr4.String())
	require.Contains(t, sound, "fd10::/64 dev lo src "+node.Addr6.String())
	for _, command := range []string{"route del 10.10.0.0/16", "-6 route del fd10::/64", "route flush proto 87", "link del weir0", "link set weir0 down"} {
		_, err := node.Output("sh", "-c", "ip "+command)
		require.NoError(t, err, command)
		w.Eventually(2*time.Second+promised, "the routes are back after ip "+command, func() bool { return w.vipRoutes(node) == sound })
		w.Only(node, f4, four...)
		w.Only(node, f6, six...)
	}
	require.NoError(t, node.Sysctl("net.ipv4.conf.all.promote_secondaries", "1")) // the new one outlives the old
	_, err := node.Output("sh", "-c", "ip addr add 192.168.10.60/24 dev eth0 && ip addr del 192.168.10.1/24 dev eth0 && ip -6 addr add fd00:10::60/64 dev eth0 nodad && ip -6 addr del fd00:10::1/64 dev eth0")
	require.NoError(t, err)
	w.Eventually(2*time.Second+promised, "the routes have the new source", func() bool {
		have := w.vipRoutes(node)
		return have != sound && have == strings.NewReplacer(node.Addr4.String()+" ", "192.168.10.60 ", node.Addr6.String()+" ", "fd00:10::60 ").Replace(sound)
	})
	w.Only(node, f4, four...)
	w.Only(node, f6, six...)
}
