package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// door is where knocks are heard: a kernel's log group.
type door struct {
	mu     sync.Mutex
	broken error // in place of listening
	heard  func(cluster.Frontend)
	fall   chan error // what listening ends with
	times  int        // that it was listened to
}

func newDoor() *door { return &door{} }

func (d *door) Listen(ctx context.Context, ready func(), heard func(cluster.Frontend), _ func()) error {
	d.mu.Lock()
	d.times++
	broken := d.broken
	d.heard = heard
	d.mu.Unlock()
	if broken != nil {
		return broken
	}
	ready()
	select {
	case <-ctx.Done():
		return nil
	case err := <-d.fall:
		return err
	}
}

func (d *door) breaks(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = err
}

// knock is a connection to service NUMBER that the kernel tells of.
func (d *door) knock(number int) {
	d.mu.Lock()
	heard := d.heard
	d.mu.Unlock()
	if heard != nil {
		heard(at(number))
	}
}

// at is the frontend of service NUMBER.
func at(number int) cluster.Frontend {
	return cluster.Frontend{VIP: netip.AddrFrom4([4]byte{10, 10, byte(1 + number>>8), byte(number)}), Proto: cluster.TCP, Port: 80}
}

// mode is what the kernel does with service NUMBER.
func (n *node) mode(number int) rules.Mode {
	n.t.Helper()
	state, err := n.kernel.Fake.Read(context.Background())
	require.NoError(n.t, err)
	return state.Placed[at(number)].Mode
}

// complaints are the problems that concern waking.
func (n *node) complaints() (out []string) {
	for _, p := range n.Status().Problems {
		if p.Field == "wake" {
			out = append(out, p.Error())
		}
	}
	return out
}

// withDoor gives the agent ears. What it waits for has to be of the bubble.
func withDoor(d *door) func(*node, *Config) {
	return func(_ *node, c *Config) { d.fall, c.Knocks = make(chan error), d }
}

// TestWake has somebody connect to a service that sleeps. The leader is told at once, and again only when the service still
// sleeps after a while and somebody still connects.
func TestWake(t *testing.T) {
	d, h := newDoor(), newHistory()
	inBubble(t, withDoor(d), func(n *node) {
		n.deliver(h.service(1, 1).service(2, 0).snapshot())
		require.Zero(t, d.times, "while no service sleeps nobody listens")
		n.deliver(h.sleeper(3, 0).sleeper(4, 0).sleeper(5, 1).snapshot())
		require.Equal(t, []rules.Mode{rules.Random, rules.Refuse, rules.Hold, rules.Hold, rules.Random}, []rules.Mode{n.mode(1), n.mode(2), n.mode(3), n.mode(4), n.mode(5)})
		require.Equal(t, 1, d.times)
		require.Empty(t, n.store.wakes())

		for _, number := range []int{1, 2, 5, 9} {
			d.knock(number)
		}
		n.after(time.Minute)
		require.Empty(t, n.store.wakes(), "neither of services that are awake, or refuse, nor of what is no frontend")

		d.knock(3)
		n.after(moment)
		require.Equal(t, []string{"s3"}, n.store.wakes(), "at once")
		var told []time.Duration
		for begin := time.Now(); time.Since(begin) < 5*time.Minute; n.after(500 * time.Millisecond) {
			d.knock(3)
			if len(n.store.wakes()) > 0 {
				told = append(told, time.Since(begin).Truncate(time.Second))
			}
		}
		require.Equal(t, []time.Duration{5 * time.Second, 15 * time.Second, 35 * time.Second, 75 * time.Second, 135 * time.Second, 195 * time.Second, 255 * time.Second}, told)
		d.knock(4)
		n.after(wakeEvery)
		require.Equal(t, []string{"s4"}, n.store.wakes(), "each service for itself")

		n.deliver(h.sleeper(3, 2).snapshot())
		require.Equal(t, rules.Random, n.mode(3))
		d.knock(3)
		n.after(time.Minute)
		require.Empty(t, n.store.wakes())
		n.deliver(h.sleeper(3, 0).snapshot())
		require.Equal(t, rules.Hold, n.mode(3))
		d.knock(3)
		n.after(moment)
		require.Equal(t, []string{"s3"}, n.store.wakes(), "who fell asleep again is told of at once")
		require.Equal(t, 1, d.times)
	})
}

// TestWakeWhileEtcdIsAway loses no connection attempt: it is told when etcd is back, once.
func TestWakeWhileEtcdIsAway(t *testing.T) {
	d, h := newDoor(), newHistory()
	inBubble(t, withDoor(d), func(n *node) {
		n.deliver(h.sleeper(1, 0).sleeper(2, 0).snapshot())
		for _, fault := range [][2]error{{errAway, errAway}, {nil, errors.New("no leader")}} {
			n.store.set(fault[0], fault[1])
			d.knock(1)
			n.after(30 * time.Second)
			d.knock(1)
			n.after(30 * time.Second)
			require.Empty(t, n.store.wakes())
			n.store.set(nil, nil)
			n.after(3 * time.Second)
			require.Equal(t, []string{"s1"}, n.store.wakes())
			n.after(5 * time.Minute)
			require.Empty(t, n.store.wakes())
			n.deliver(h.sleeper(1, 1).snapshot())
			n.deliver(h.sleeper(1, 0).snapshot())
		}
		require.Zero(t, n.log.count("msg=wake err=\"etcd is away\""), "that etcd is away is told elsewhere")

		// Of a service that woke up meanwhile nothing is told any more.
		n.store.set(errAway, errAway)
		d.knock(2)
		n.after(10 * time.Second)
		n.deliver(h.sleeper(2, 1).snapshot())
		n.store.set(nil, nil)
		n.after(time.Minute)
		require.Empty(t, n.store.wakes())
	})
}

// TestFloodOfKnocks costs the store a bounded number of writes, and everybody has a turn.
func TestFloodOfKnocks(t *testing.T) {
	const services = 500
	d, h := newDoor(), newHistory()
	inBubble(t, withDoor(d), func(n *node) {
		for i := range services {
			h.sleeper(i, 0)
		}
		n.deliver(h.snapshot())
		count := func(during time.Duration) map[string]int {
			told := map[string]int{}
			for begin := time.Now(); time.Since(begin) < during; n.after(200 * time.Millisecond) {
				for i := range services {
					d.knock(i)
				}
			}
			for _, service := range n.store.wakes() {
				told[service]++
			}
			return told
		}
		first := count(time.Second)
		require.LessOrEqual(t, len(first), 120)
		all := count(10 * time.Second)
		sum := 0
		for _, times := range all {
			sum += times
		}
		require.LessOrEqual(t, sum, 1100)
		require.Greater(t, len(all), services-len(first)-1, "everybody has a turn")
	})
}

// TestDeaf is a node whose kernel does not tell of connections: then services that sleep refuse, and a Problem says why, until
// it does.
func TestDeaf(t *testing.T) {
	d, h := newDoor(), newHistory()
	d.breaks(errors.New("another program listens"))
	inBubble(t, withDoor(d), func(n *node) {
		n.deliver(h.service(1, 0).snapshot())
		n.after(time.Minute)
		require.Zero(t, d.times)
		n.deliver(h.sleeper(2, 0).snapshot())
		n.after(time.Second)
		require.Equal(t, rules.Refuse, n.mode(2))
		require.Len(t, n.complaints(), 1)
		require.Contains(t, n.complaints()[0], "connections to services that sleep are refused here, since nobody would hear of them: another program listens")
		require.Equal(t, 1, n.log.count("msg=problem "))

		d.breaks(nil)
		n.after(listenAgain)
		require.Equal(t, rules.Hold, n.mode(2))
		require.Empty(t, n.complaints())
		d.knock(2)
		n.after(moment)
		require.Equal(t, []string{"s2"}, n.store.wakes())

		d.breaks(errors.New("broken"))
		d.fall <- errors.New("fell")
		n.after(moment)
		require.Equal(t, rules.Refuse, n.mode(2))
		require.Len(t, n.complaints(), 1)
		n.deliver(h.sleeper(2, 1).snapshot())
		require.Empty(t, n.complaints(), "it matters only while somebody sleeps")
	})
}

// TestKernelThatCannotHold refuses what it cannot hold, and everything else is as wanted.
func TestKernelThatCannotHold(t *testing.T) {
	d, h := newDoor(), newHistory()
	inBubble(t, func(n *node, c *Config) {
		withDoor(d)(n, c)
		n.kernel.Reject = func(c rules.Change) bool { return c.Want.Mode == rules.Hold }
	}, func(n *node) {
		n.deliver(h.service(1, 1).sleeper(2, 1).snapshot())
		n.deliver(h.service(3, 1).sleeper(2, 0).sleeper(4, 0).snapshot())
		n.after(time.Second)
		require.Equal(t, []rules.Mode{rules.Random, rules.Refuse, rules.Random, rules.Refuse}, []rules.Mode{n.mode(1), n.mode(2), n.mode(3), n.mode(4)})
		require.Len(t, n.complaints(), 1)
		require.Contains(t, n.complaints()[0], "restart the agent")
		require.Empty(t, n.Status().Refused)
		n.after(10 * time.Minute)
		require.Len(t, n.complaints(), 1)
		require.False(t, strings.Contains(n.log.String(), "level=ERROR"))
	})
}

// TestDeniedToWake is a node whose role may not tell the leader: it refuses, for nobody would come.
func TestDeniedToWake(t *testing.T) {
	d, h := newDoor(), newHistory()
	inBubble(t, withDoor(d), func(n *node) {
		n.deliver(h.sleeper(1, 0).snapshot())
		n.store.set(nil, fmt.Errorf("%w: ops/wake/s1", cluster.ErrDenied))
		d.knock(1)
		n.after(time.Minute)
		require.Equal(t, rules.Refuse, n.mode(1))
		require.Len(t, n.complaints(), 1)
		require.Contains(t, n.complaints()[0], "ops/wake/s1: let the node write ops/wake/ (weir rbac)")
		require.Zero(t, n.log.count("msg=wake "))
	})
}

// TestNobodyListens is an agent without ears: services that sleep refuse, and that is no problem.
func TestNobodyListens(t *testing.T) {
	h := newHistory()
	inBubble(t, nil, func(n *node) {
		n.deliver(h.sleeper(1, 0).snapshot())
		require.Equal(t, rules.Refuse, n.mode(1))
		require.Empty(t, n.complaints())
	})
}
