package watchman

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// records are what should be said of nodes that are gone. What is said already stays until something else is known.
func (s State) records(in Sight, g guard, o Orders) (map[string]cluster.Gone, []cluster.Problem) {
	out := map[string]cluster.Gone{}
	var problems []cluster.Problem
	if o.Alarm != nil {
		problems = append(problems, cluster.Problem{Object: "nodes", What: o.Alarm.Reason, Fix: "look for what they share; of those that are dead: weir node down NODE --reason TEXT, or weir node forget NODE"})
	}
	for _, name := range slices.Sorted(maps.Keys(s.tracks)) {
		t := s.tracks[name]
		if !hosting(in.Nodes[name]) || t.settling(in.Now) {
			continue
		}
		said, was := in.Recorded[name]
		now, known := s.record(t, in, g)
		switch {
		case !known && !was:
			continue
		case !known || was && said.State == now.State && now.State == cluster.Unwatched: // who answers whom changes with each look
			now = said
		}
		now.Since = said.Since
		if now.Since.IsZero() {
			now.Since = t.since.UTC().Truncate(time.Millisecond)
		}
		out[name] = now
		if now.State == cluster.HeldBack {
			problems = append(problems, cluster.Problem{Object: "node " + name, What: "it is gone, but not declared down: " + now.Reason, Fix: "if it is dead: weir node down " + name + " --reason TEXT"})
		}
	}
	return out, problems
}

// record is what is known of one node; false: nothing new.
func (s State) record(t track, in Sight, g guard) (cluster.Gone, bool) {
	held := func(format string, args ...any) (cluster.Gone, bool) {
		return cluster.Gone{State: cluster.HeldBack, Reason: fmt.Sprintf(format, args...)}, true
	}
	switch {
	case t.seen == answers || t.seen == doubted:
		return cluster.Gone{State: cluster.Unwatched, Reason: "its agent is not in touch with etcd, but " + t.said}, true
	case !s.gone(t, in.Now):
		return cluster.Gone{}, false
	case in.Paused:
		return held("automatic decisions are paused (weir resume)")
	case t.seen == unseen:
		return cluster.Gone{}, false
	case g.blocked():
		return held("%s", g)
	case t.seen == blind:
		return held("%s", cmp.Or(t.said, "the load monitors of other nodes could not be asked whether its instances answer"))
	case g.left == 0:
		return held("at most %d may be declared down within a minute, and so many were", g.limit)
	}
	return cluster.Gone{}, false
}

// why is the reason to declare a node down.
func (t track) why(now time.Time) string {
	return fmt.Sprintf("its agent has been gone from etcd for %s, and its instances do not answer %s", now.Sub(t.since).Round(time.Second), strings.Join(t.silent, " and "))
}
