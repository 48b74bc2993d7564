package check

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// outage is a service of which some instances begin to fail at one moment, as the load monitors of their nodes see it, each
// with checks at times of its own and writes that take a while.
type outage struct {
	check   cluster.Check
	hosts   []int // the node of each instance
	sick    []bool
	hangs   []bool // it does not answer, else it answers badly at once
	start   []time.Duration
	latency time.Duration // of a write, until every agent knows

	draft *cluster.Draft
	least int           // instances in use
	out   time.Duration // when the first one was taken out; 0: none was
	tells int           // verdicts that were told
}

// outset is when they begin to fail.
const outset = time.Minute

// writer is what a node's monitor does with verdicts: those of 30 ms together, after a rest four within a second, and then one
// each second.
type writer struct {
	due, earliest, paid time.Duration
	subjects            []*subject
}

func (w *writer) changed(now time.Duration) {
	if w.due == 0 {
		w.due = max(now+30*time.Millisecond, w.earliest)
	}
}

func (w *writer) wrote(now time.Duration) {
	w.due, w.paid = 0, max(w.paid, now)+time.Second
	w.earliest = w.paid - 3*time.Second
}

func (w *writer) health() cluster.NodeHealth {
	out := cluster.NodeHealth{"a": {}}
	for _, s := range w.subjects {
		if s.health.Verdict != "" {
			out["a"][s.id.Instance] = s.health
		}
	}
	return out
}

// play goes through the time until all that there is to be told has been told.
func (o *outage) play(whole time.Duration) {
	o.draft, o.least = cluster.NewDraft(), len(o.hosts)
	service := &cluster.Service{Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.0.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Check: &o.check, CreateRevision: 1, ModRevision: 1}
	writers := make([]*writer, slices.Max(o.hosts)+1)
	subjects := make([]*subject, len(o.hosts))
	for n := range writers {
		writers[n] = &writer{}
		o.draft.Node(fmt.Sprint("n", n), &cluster.Node{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 1, byte(n)})}})
	}
	for i, n := range o.hosts {
		id := ID{"a", fmt.Sprint("i", i)}
		service.Instances = append(service.Instances, cluster.Instance{ID: id.Instance, Addr: netip.AddrFrom4([4]byte{192, 168, 1, byte(n)}), Port: uint16(8000 + i), Weight: 1})
		subjects[i] = newSubject(task{id: id, own: true, check: &o.check, address: netip.MustParseAddrPort("192.168.1.1:80")}, 0)
		writers[n].subjects = append(writers[n].subjects, subjects[i])
	}
	o.draft.Service("a", service)
	type news struct {
		at   time.Duration
		node int
		said cluster.NodeHealth
	}
	var sent []news
	const step, brief = time.Millisecond, 2 * time.Millisecond
	clock := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	interval, timeout := time.Duration(o.check.Interval), time.Duration(o.check.Timeout)
	next := func(now time.Duration) time.Duration { // the first step after now at which something may happen
		at := whole
		for i := range subjects {
			for _, took := range []time.Duration{brief, timeout} {
				left := interval - (now-took-o.start[i])%interval
				at = min(at, now+(left+step-1)/step*step)
			}
		}
		for _, w := range writers {
			if w.due != 0 {
				at = min(at, w.due)
			}
		}
		if len(sent) > 0 {
			at = min(at, sent[0].at)
		}
		return max(at, now+step)
	}
	for now := outset - 2*interval; now < whole; now = next(now) {
		for i, s := range subjects {
			took := brief
			if o.sick[i] && o.hangs[i] && now >= outset {
				took = timeout
			}
			if started := now - took; (started-o.start[i])%interval/step != 0 || o.sick[i] && now >= outset && now-outset < took && o.hangs[i] {
				continue
			}
			outcome := Outcome{Kind: Good}
			if o.sick[i] && now-took >= outset {
				outcome = Outcome{Kind: Bad, Reason: "no answer"}
			}
			s.see(outcome, now)
			if before, after := s.settle(now, clock.Add(now)); before != after {
				o.tells++
				writers[o.hosts[i]].changed(now)
			}
		}
		for n, w := range writers {
			if w.due != 0 && now >= w.due {
				w.wrote(now)
				sent = append(sent, news{now + o.latency, n, w.health()})
			}
		}
		for len(sent) > 0 && sent[0].at <= now {
			o.draft.Health(fmt.Sprint("n", sent[0].node), sent[0].said)
			sent = sent[1:]
			in, _ := o.draft.Snapshot(int64(now)).Services.Get("a")
			r := cluster.Resolve(in)
			used := len(r.Targets(r.Frontends[0]))
			if o.least = min(o.least, used); used < len(o.hosts) && o.out == 0 {
				o.out = now - outset
			}
		}
	}
}

func drawOutage(t *rapid.T, fall int) *outage {
	n := rapid.IntRange(1, 10).Draw(t, "instances")
	o := &outage{latency: 20 * time.Millisecond}
	o.check = cluster.Check{TCP: &cluster.TCPCheck{}, Fall: fall, Interval: cluster.Duration(rapid.SampledFrom([]int{200, 500, 1000, 2000, 5000}).Draw(t, "interval")) * cluster.Duration(time.Millisecond)}
	o.check.Timeout = o.check.Interval / cluster.Duration(rapid.IntRange(1, 4).Draw(t, "timeouts in an interval"))
	o.check = o.check.WithDefaults()
	for range n {
		o.hosts = append(o.hosts, rapid.IntRange(0, n-1).Draw(t, "node"))
		o.start = append(o.start, time.Duration(rapid.Int64Range(0, int64(o.check.Interval)/int64(time.Millisecond)-1).Draw(t, "phase"))*time.Millisecond)
		o.hangs = append(o.hangs, rapid.Bool().Draw(t, "hangs"))
	}
	return o
}

// Whatever the times of their checks, wherever they run, and however they fail: where more than half of a service's instances begin to fail at one
// moment none of them is taken out.
func TestMostThatFailAtOnceStayIn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := drawOutage(t, rapid.IntRange(3, 4).Draw(t, "fall"))
		n := len(o.hosts)
		for i := range rapid.IntRange(n/2+1, n).Draw(t, "sick") {
			o.sick = append(o.sick, i >= 0)
		}
		o.sick = append(o.sick, make([]bool, n-len(o.sick))...)
		o.play(outset + 8*time.Duration(o.check.Interval))
		if o.least < n {
			t.Fatalf("%d of %d are used, from %s on", o.least, n, o.out)
		}
	})
}

// One of several is out as soon as without suspects: within fall intervals and a timeout.
func TestOneThatFailsIsOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := drawOutage(t, rapid.IntRange(1, 4).Draw(t, "fall"))
		if len(o.hosts) < 2 {
			t.Skip()
		}
		o.sick = make([]bool, len(o.hosts))
		o.sick[0] = true
		o.play(outset + 8*time.Duration(o.check.Interval))
		limit := time.Duration(o.check.Fall)*time.Duration(o.check.Interval) + time.Duration(o.check.Timeout) + 100*time.Millisecond
		if o.least != len(o.hosts)-1 || o.out > limit {
			t.Fatalf("%d of %d are used, from %s on, want within %s", o.least, len(o.hosts), o.out, limit)
		}
		require.LessOrEqual(t, o.tells, 2)
	})
}
