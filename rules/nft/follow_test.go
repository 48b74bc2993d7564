package nft

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
)

// followed is what Follow has told so far.
type followed struct {
	mu       sync.Mutex
	attempts []rules.Attempt
	missed   []string
	end      func()
}

// told waits until so many are told, and ends it.
func (f *followed) told(t *testing.T, n int) []rules.Attempt {
	t.Helper()
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.attempts) >= n
	}, 20*time.Second, time.Millisecond)
	f.end()
	return f.attempts
}

// follow begins and returns once packets are traced. The test ends it.
func (r *road) follow(t *testing.T, o rules.FollowOptions) *followed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	out := &followed{}
	o.Ready = func() { close(ready) }
	o.Missed = func(what string) { out.missed = append(out.missed, what) }
	go func() {
		done <- r.d.Follow(ctx, o, func(a rules.Attempt) {
			out.mu.Lock()
			defer out.mu.Unlock()
			out.attempts = append(out.attempts, a)
		})
	}()
	select {
	case <-ready:
	case err := <-done:
		require.NoError(t, err)
	}
	out.end = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done, "ended by its context, Follow returns nil")
	})
	t.Cleanup(out.end)
	return out
}

func path(a rules.Attempt) string {
	var chains []string
	for _, s := range a.Steps {
		chains = append(chains, s.Chain+": "+s.What)
	}
	return strings.Join(chains, ", ")
}

// Each real connection is told once, with the instance that it met.
func TestFollow(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.RouteLocally()
	four, six := []string{"192.168.10.100:80", "192.168.10.101:80", "192.168.10.102:80"}, []string{"[fd00:10::100]:80", "[fd00:10::101]:80", "[fd00:10::102]:80"}
	own := netip.AddrPortFrom(r.Node.Addr4, 80)
	instance, err := lab.Serve(r.Node.Namespace, "node", own)
	require.NoError(t, err)
	t.Cleanup(func() { _ = instance.Close() })
	r.Names[own] = "node"
	tcp := service("tcp", "10.10.1.1 fd10::1", 80, append(append([]string{own.String()}, four...), six...)...)
	udp := with(service("udp", "10.10.1.2 fd10::2", 80, append(four, six...)...), func(s *cluster.Service) { s.Ports[0].Protocol = cluster.UDP })
	install(t, r.d, build(rules.Options{}, tcp, udp))
	for _, to := range []string{"10.10.1.1:80", "[fd10::1]:80", "10.10.1.2:80/udp", "[fd10::2]:80/udp"} {
		for _, from := range []*lab.Host{r.Client, r.Node} {
			f := frontend(to)
			out := r.follow(t, rules.FollowOptions{Frontend: f, Rate: 1000})
			r.Connect(from, frontend("10.10.1.1:81"), netip.Addr{}, 3) // somebody else's
			result := r.Connect(from, f, netip.Addr{}, 40)
			require.Equal(t, 40, result.Good(), "%s", result)
			require.Len(t, out.told(t, 40), 40, "%s from %s", to, from.Name())
			require.Empty(t, out.missed)
			met := map[string]int{}
			for _, a := range out.attempts {
				met[r.Names[a.Target]]++
				require.Equal(t, []any{f, rules.Sent, from == r.Node}, []any{a.Frontend, a.Outcome, a.Local}, path(a))
				require.Contains(t, []netip.Addr{from.Addr4, from.Addr6}, a.Client.Addr())
				require.Contains(t, path(a), "dispatch: goto lb-")
				require.Equal(t, !a.Local && r.Names[a.Target] != "node", a.As.IsValid(), "masqueraded: %s from %s as %s to %s", path(a), a.Client, a.As, a.Target)
			}
			require.Equal(t, result.ByID, met, "%s from %s", to, from.Name())
		}
	}
	require.NotContains(t, listing(t, int(r.Node.Netns())), "weir-trace")
}

// What is refused shows the rule that did it, ours or somebody else's.
func TestFollowRefusals(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	r.RouteLocally()
	ns := int(r.Node.Netns())
	guarded := with(service("guarded", "10.10.1.4", 80, "192.168.10.100:80"), func(s *cluster.Service) {
		s.Sources = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	})
	install(t, r.d, build(rules.Options{}, service("none", "10.10.1.3", 80), guarded, service("web", "10.10.1.5", 80, "192.168.10.100:80")))
	nft(t, ns, "table ip theirs { chain wall { type filter hook forward priority 0; ip saddr 192.168.10.50 tcp dport 80 drop; }; }")
	for _, c := range []struct {
		to, outcome, path string
		from              *lab.Host
	}{
		{"10.10.1.3:80", "refused", "prerouting: jump dispatch, dispatch: goto no-endpoint, no-endpoint: goto refuse, refuse: reject with tcp reset", r.Client},
		{"10.10.1.3:80", "refused", "output: jump dispatch, dispatch: goto no-endpoint, no-endpoint: goto refuse, refuse: reject with tcp reset", r.Node},
		{"10.10.1.4:80", "refused", "prerouting: jump dispatch, dispatch: goto guarded, guarded: goto refuse, refuse: reject with tcp reset", r.Client},
		{"10.10.1.3:99", "refused", "prerouting: jump dispatch, dispatch: goto other, other: goto refuse, refuse: reject with tcp reset", r.Client},
		{"10.10.1.5:80", "dropped", "prerouting: jump dispatch, dispatch: goto lb-", r.Client},
	} {
		f := frontend(c.to)
		out := r.follow(t, rules.FollowOptions{Frontend: f})
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			_, err := c.from.Dial(ctx, "tcp", netip.AddrPortFrom(f.VIP, f.Port).String())
			failed <- err
		}()
		told := out.told(t, 1)
		cancel()
		require.Error(t, <-failed)
		if c.outcome == "refused" { // who is dropped tries again
			require.Len(t, told, 1, c.to)
		}
		require.Equal(t, c.outcome, string(told[0].Outcome))
		require.Contains(t, path(told[0]), c.path)
		if c.outcome == "dropped" {
			require.Contains(t, path(told[0]), "theirs wall: drop")
		}
	}
}

// More connections than the rate are not looked at, and that is told.
func TestFollowIsBounded(t *testing.T) {
	t.Parallel()
	r := newRoad(t)
	install(t, r.d, build(rules.Options{}, service("web", "10.10.1.1", 80, "192.168.10.100:80")))
	out := r.follow(t, rules.FollowOptions{Frontend: frontend("10.10.1.1:80"), Rate: 5})
	result := r.Connect(r.Client, frontend("10.10.1.1:80"), netip.Addr{}, 200)
	require.Equal(t, 200, result.Good(), "%s", result)
	listed := regexp.MustCompile(`limit rate 5/second(?: burst 5 packets)? counter packets (\d+)`).FindStringSubmatch(listing(t, int(r.Node.Netns())))
	require.NotNil(t, listed)
	looked, err := strconv.Atoi(listed[1])
	require.NoError(t, err)
	require.Less(t, looked, 200)
	require.Len(t, out.told(t, looked), looked)
	require.Equal(t, []string{fmt.Sprintf("%d more came than the 5 a second that are looked at", 200-looked)}, out.missed)
}

// TestFollowKilled runs as a process of its own, which is killed: the kernel takes the table away.
func TestFollowKilled(t *testing.T) {
	if ns := os.Getenv("WEIR_TEST_FOLLOW"); ns != "" {
		d, err := New(Options{Ownership: ReadOnly})
		require.NoError(t, err)
		_ = d.Follow(t.Context(), rules.FollowOptions{Frontend: frontend("10.10.1.1:80"), Ready: func() { println("ready") }}, func(rules.Attempt) {})
		return
	}
	t.Parallel()
	host, err := lab.Test(t).Namespace("n")
	require.NoError(t, err)
	d := open(t, int(host.Netns()), OwnAuto)
	install(t, d, build(rules.Options{}, service("web", "10.10.1.1", 80, "192.168.10.100:80")))
	before := listing(t, int(host.Netns()))
	cmd := exec.Command(os.Args[0], "-test.run", "^TestFollowKilled$")
	cmd.Env = append(os.Environ(), "WEIR_TEST_FOLLOW=yes")
	said, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, host.Start(cmd))
	lines := bufio.NewScanner(said)
	for lines.Scan() && lines.Text() != "ready" { // whatever else is said there
	}
	require.Equal(t, "ready", lines.Text())
	require.Contains(t, listing(t, int(host.Netns())), "table ip weir-trace-")
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	require.Eventually(t, func() bool { return listing(t, int(host.Netns())) == before }, 20*time.Second, 10*time.Millisecond, "something is left")
}

// A packet of which nothing more comes is told of in the end; one whose messages nobody has read so far is waited for.
func TestFollowWaitsForWhatIsNotRead(t *testing.T) {
	t.Parallel()
	var seen []rules.Attempt
	now := time.Now()
	r := trail{open: map[uint32]*passage{1: {ours: true}}, seen: func(a rules.Attempt) { seen = append(seen, a) }, last: now}
	now = now.Add(time.Minute)
	r.tick(now)
	require.Empty(t, seen, "this process did not run")
	for range patience / beat {
		now = now.Add(beat)
		r.tick(now)
	}
	require.Len(t, seen, 1)
	require.Equal(t, rules.Unclear, seen[0].Outcome)
	require.Empty(t, r.open)
}

func FuzzDecodeTrace(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 9, 0, 1, 0, 'w', 'e', 'i', 'r', 0, 0, 0, 0})
	f.Add([]byte{2, 0, 0, 0, 16, 0, 5, 128, 8, 0, 1, 0, 255, 255, 255, 252, 4, 0, 2, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := netlink.Message{Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_TRACE}, Data: data}
		for _, family := range families {
			traced, ok, err := decodeTrace(m, family)
			if err == nil && ok {
				_ = traced.String()
			}
		}
	})
}
