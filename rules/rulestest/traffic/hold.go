package traffic

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/knock"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// knocks are what is heard of connections that are held.
type knocks struct {
	mu    sync.Mutex
	heard map[cluster.Frontend]int
}

func (k *knocks) of(f cluster.Frontend) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.heard[f]
}

// listen hears of what the node's kernel holds, until the test ends.
func (r *Road) listen() *knocks {
	k := &knocks{heard: map[cluster.Frontend]int{}}
	ctx, stop := context.WithCancel(r.t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	l := knock.Listener{Group: rules.WakeGroup, Snaplen: rules.WakeSnaplen, NetNS: int(r.Node.Netns())}
	go func() {
		ended <- l.Listen(ctx, func() { close(ready) }, func(f cluster.Frontend) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.heard[f]++
		}, func() {})
	}()
	select {
	case <-ready:
	case err := <-ended:
		require.NoError(r.t, err)
	}
	r.t.Cleanup(func() {
		stop()
		require.NoError(r.t, <-ended)
	})
	return k
}

// TestHold requires that connections to services that sleep are neither answered nor lost: they are told of, at most once a
// second for each frontend, and the clients' own retries succeed once there is an instance. So it is for clients on the node
// and behind it, in both families; and what a guard does not admit is refused all the same.
func TestHold(t *testing.T, r *Road) {
	r.RouteLocally()
	r.AddSources(2)
	services := func(instances ...string) []*cluster.Service {
		guarded := rulestest.With(rulestest.Service("guarded", "10.10.1.3 fd10::3", 80, instances...), rulestest.Sleeper)
		guarded.Sources = []netip.Prefix{netip.PrefixFrom(r.Sources[0], 32), netip.PrefixFrom(r.Sources[1], 128)}
		return []*cluster.Service{
			rulestest.With(rulestest.Service("tcp", "10.10.1.1 fd10::1", 80, instances...), rulestest.Sleeper),
			rulestest.With(rulestest.With(rulestest.Service("udp", "10.10.1.2 fd10::2", 80, instances...), rulestest.Sleeper), udp),
			guarded,
		}
	}
	asleep, awake := rulestest.Ruleset(rules.Options{}, services()...), rulestest.Ruleset(rules.Options{}, services(instances...)...)
	rulestest.Install(t, r.Driver, asleep)
	k := r.listen()

	senders := r.datagramsKnock(k)
	for i, f := range []cluster.Frontend{rulestest.Frontend("10.10.1.3:80"), rulestest.Frontend("[fd10::3]:80")} {
		require.Equal(t, 1, r.Connect(r.Client, f, r.Sources[2+i], 1).Failures["refused"], "%s is not for this client", f)
		require.Zero(t, k.of(f))
	}

	frontends := []cluster.Frontend{rulestest.Frontend("10.10.1.1:80"), rulestest.Frontend("[fd10::1]:80")}
	begin := time.Now()
	var clients errgroup.Group
	hosts := []*lab.Host{r.Client, r.Node}
	const each = 3 // of a host and a frontend
	for _, from := range hosts {
		for _, f := range frontends {
			for range each {
				clients.Go(func() error {
					c, err := from.Dial(t.Context(), "tcp", netip.AddrPortFrom(f.VIP, f.Port).String())
					if err != nil {
						return err
					}
					t.Logf("%s -> %s: connected after %s", from.Name(), f, time.Since(begin).Round(10*time.Millisecond))
					return c.Close()
				})
			}
		}
	}
	require.Eventually(t, func() bool { return k.of(frontends[0]) > 0 && k.of(frontends[1]) > 0 }, 20*time.Second, time.Millisecond)
	rulestest.Install(t, r.Driver, awake)
	took := time.Since(begin)
	var repeated []uint64
	for _, from := range hosts {
		repeated = append(repeated, r.repeated(from))
	}
	require.NoError(t, clients.Wait())
	for i, from := range hosts {
		require.LessOrEqual(t, r.repeated(from)-repeated[i], uint64(each*len(frontends)), "%s: the next try of each is answered, at 1, 3 or 7 s", from.Name())
	}
	for _, f := range frontends {
		// Two processors may each find that nothing was told yet.
		require.LessOrEqual(t, k.of(f), 2+int(took/time.Second), "%s: of six connections in %s", f, took)
		counts, err := r.Driver.Counters(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, counts[f])
	}

	for _, c := range senders {
		r.answered(c)
	}

	// Back to sleep: what is held then is counted.
	rulestest.Install(t, r.Driver, asleep)
	ctx, cancel := context.WithCancel(t.Context())
	tries := make(chan error, 1)
	go func() {
		_, err := r.Client.Dial(ctx, "tcp", "10.10.1.1:80")
		tries <- err
	}()
	begin = time.Now()
	require.Eventually(t, func() bool {
		counts, err := r.Driver.Counters(t.Context())
		held := counts[frontends[0]][netip.AddrPort{}]
		return err == nil && len(counts[frontends[0]]) == 1 && held > 0 && held <= 1+uint64(time.Since(begin)/time.Second)
	}, 20*time.Second, 10*time.Millisecond)
	cancel()
	require.Error(t, <-tries)
}

// datagramsKnock sends to a service that sleeps: a routed client hears nothing, one on the node is not permitted to send, and
// both are told of.
func (r *Road) datagramsKnock(k *knocks) (senders []net.Conn) {
	for _, f := range []cluster.Frontend{rulestest.Frontend("10.10.1.2:80/udp"), rulestest.Frontend("[fd10::2]:80/udp")} {
		for i, from := range []*lab.Host{r.Client, r.Node} {
			c, err := from.Dial(r.t.Context(), "udp", netip.AddrPortFrom(f.VIP, f.Port).String())
			require.NoError(r.t, err)
			r.t.Cleanup(func() { c.Close() })
			senders = append(senders, c)
			require.Eventually(r.t, func() bool {
				if _, err := c.Write([]byte("x")); err != nil {
					require.True(r.t, from == r.Node && errors.Is(err, unix.EPERM), "%s: %v", from.Name(), err)
				}
				return k.of(f) > i
			}, 20*time.Second, 50*time.Millisecond, "%s -> %s", from.Name(), f)
		}
	}
	return senders
}

// answered requires that the next datagram of a flow that was held finds an instance, with the source that it had.
func (r *Road) answered(c net.Conn) {
	_, err := c.Write([]byte("x"))
	require.NoError(r.t, err, "%s -> %s", c.LocalAddr(), c.RemoteAddr())
	require.NoError(r.t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err = c.Read(make([]byte, 100))
	require.NoError(r.t, err, "%s -> %s", c.LocalAddr(), c.RemoteAddr())
}
