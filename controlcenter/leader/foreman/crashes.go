package foreman

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

const (
	mostCrashes   = 5  // events of one end each that a service gets in a span of time; of what is more one event tells at its end
	mostBereaved  = 20 // services of which crashes are told in one round: the others follow
	longestPhrase = 200
	// A span begins with an event. It is twice as long as the one before where that was over a short while ago: an instance that
	// crashes for days is not to push out all else that was decided of its service.
	firstSpan   = time.Minute
	longestSpan = 10 * time.Minute
)

// crash is the last end of an instance of which no event tells.
type crash struct {
	cluster.Crash
	node, id string
	machine  bool
	times    int // it ended since an event told of one
}

func (c crash) String() string {
	text := c.who() + ": " + c.how()
	if c.Output != "" {
		text += "; it wrote last: " + plain.Words(c.Output, longestPhrase)
	}
	again := "at once"
	if c.Pause > 0 {
		again = "after " + time.Duration(c.Pause).Round(100*time.Millisecond).String()
	}
	return text + "; started again " + again + "; " + plain.Plural(c.Count, "end") + " so far"
}

func (c crash) who() string {
	if c.machine {
		return "machine " + c.id + ", from the hook of node " + c.node
	}
	return "instance " + c.id + " on node " + c.node
}

// how is what a node says, of which it is not known who wrote it.
func (c crash) how() string { return plain.Line(c.How, longestPhrase) }

// untold are the ends that no event tells of, by service, the oldest first. Of what the leader did not assign none is told: a node
// could name any service.
func untold(ops *cluster.Operations) map[string][]crash {
	out := map[string][]crash{}
	for node, launched := range ops.Launched {
		for id, l := range launched {
			a, assigned := ops.Assigned[node][id]
			service := a.About()
			if l.Crash == nil || !assigned || service == "" || ops.Crashes[service].Knows(id, *l.Crash) {
				continue
			}
			c := crash{Crash: *l.Crash, node: node, id: id, machine: a.Kind == cluster.KindNode}
			c.Count = min(max(c.Count, 1), math.MaxInt32)
			c.times = max(c.Count-ops.Crashes[service].Known[id].Count, 1)
			out[service] = append(out[service], c)
		}
	}
	for _, all := range out {
		slices.SortFunc(all, func(a, b crash) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.id, b.id)) })
	}
	return out
}

// telling decides which of a service's ends are told of now: none, one, or all. It reads no clock.
//
//	                             few were told of   mostCrashes were
//	in the present span          the oldest         none
//	after it, one is left        the oldest         the oldest
//	after it, several are left   the oldest         all, in one event
func telling(now time.Time, before cluster.Crashes, left []crash) (told []crash, next cluster.Crashes) {
	next = before
	end := before.Since.Add(time.Duration(before.Span))
	within := !now.Before(before.Since) && now.Before(end) // another leader's clock may be ahead
	full := before.Told >= mostCrashes
	switch {
	case len(left) == 0, within && full:
		return nil, before
	case within:
		next.Told++
		return left[:1], next
	}
	next.Since, next.Span, next.Told = now, cluster.Duration(firstSpan), 0
	if before.Span > 0 && now.Sub(end) < time.Duration(before.Span) {
		next.Span = min(2*before.Span, cluster.Duration(longestSpan))
	}
	if full && len(left) > 1 {
		return left, next
	}
	next.Told = 1
	return left[:1], next
}

// known is what is to be remembered of the ends of a service: those that were told of, of instances that are there.
func known(before cluster.Crashes, told []crash, there map[string]bool) map[string]cluster.ToldCrash {
	out := map[string]cluster.ToldCrash{}
	for id, c := range before.Known {
		if there[id] {
			out[id] = c
		}
	}
	for _, c := range told {
		out[c.id] = cluster.ToldCrash{At: c.At, Count: c.Count}
	}
	return out
}

// crashEvent tells of one end, or of many together.
func crashEvent(now time.Time, service string, since time.Time, told []crash) cluster.Event {
	e := cluster.Event{At: now, Service: service, What: cluster.EventCrashed}
	if len(told) == 1 {
		c := told[0]
		e.Reason = c.String()
		e.In = cluster.Figures{c.id: {"ends": float64(c.Count), "pause": time.Duration(c.Pause).Seconds()}}
		return e
	}
	times := 0
	var names []string
	for _, c := range told {
		times += c.times
		names = append(names, c.who()+" ("+c.how()+")")
	}
	e.Reason = fmt.Sprintf("%s of %d instances since %s, and started again: %s", plain.Plural(times, "more end"), len(told), since.UTC().Format(time.RFC3339), plain.Few(names))
	e.In = cluster.Figures{"service": {"ends": float64(times), "instances": float64(len(told))}}
	return e
}

// notice is one event, with the note of what it tells of; or that note alone, to be forgotten.
type notice struct {
	service string
	event   cluster.Event
	crashes *cluster.Crashes
}

// notices are what is to be told now. It reads no clock.
func notices(now time.Time, ops *cluster.Operations) (out []notice) {
	left, there := untold(ops), map[string]bool{}
	for _, launched := range ops.Launched {
		for id := range launched {
			there[id] = true
		}
	}
	services := map[string]bool{}
	for name := range ops.Crashes {
		services[name] = true
	}
	for name := range left {
		services[name] = true
	}
	for _, service := range slices.Sorted(maps.Keys(services)) {
		before := ops.Crashes[service]
		told, next := telling(now, before, left[service])
		next.Known = known(before, told, there)
		switch {
		case len(told) > 0:
			out = append(out, notice{service, crashEvent(now, service, before.Since, told), &next})
		case len(next.Known) == 0 && len(left[service]) == 0:
			out = append(out, notice{service: service}) // nothing of it is there any more
		}
	}
	return out[:min(len(out), mostBereaved)]
}

// tellCrashes writes events of instances that ended by themselves: they happen, and are mended, without the leader, so this is
// done also while it decides nothing. An event is written with the note of what it tells of, and both only by who leads: another
// leader goes on where this one was, tells of none again, and also of those that ended while nobody led. What is lost is the
// single end of an instance that ended several times before anybody could tell, which is in the count, and that of one whose
// record went meanwhile, with it or with its node.
func (f *Foreman) tellCrashes(ctx context.Context, ops *cluster.Operations, m *misses) {
	for _, n := range notices(time.Now().UTC().Truncate(time.Millisecond), ops) {
		decisions := []cluster.Decision{cluster.SetCrashes{Service: n.service, Crashes: n.crashes}}
		if n.crashes != nil {
			n.event.By = f.c.Name
			decisions = append(decisions, n.event)
		}
		err := f.write(ctx, decisions...)
		if m.note(n.service, err) {
			return
		}
		if err == nil && n.crashes != nil {
			f.c.Logger.Info(n.event.What, "service", n.service, "reason", n.event.Reason)
		}
	}
}
