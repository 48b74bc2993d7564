package controlcenter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// ErrRemaining says that live connections were left when the time was up. The instance is drained all the same.
var ErrRemaining = errors.New("live connections remain")

// cutOff is how long a node that lost its contact with etcd is waited for. Its kernel goes on carrying connections, and
// an agent that is only restarted is back much sooner.
const cutOff = 30 * time.Second

// Drain is what Drained waits for.
type Drain struct {
	Revision          int64 // by which the instance was taken out
	Service, Instance string
}

// Remaining is what is left of the connections to an instance.
type Remaining struct {
	Connections int           `json:"connections"`
	Took        time.Duration `json:"took"`
	Nodes       []NodeFlows   `json:"nodes,omitempty"`       // those that carry some
	Uncounted   []string      `json:"uncounted,omitempty"`   // alive, but they have not counted yet, or cannot
	Unreachable []string      `json:"unreachable,omitempty"` // without contact to etcd: what they carry is not known
}

// NodeFlows is how many connections one node carries.
type NodeFlows struct {
	Node        string `json:"node"`
	Connections int    `json:"connections"`
}

// String is the line that an operator reads.
func (r Remaining) String() string {
	s := fmt.Sprintf("%d live connections", r.Connections)
	if r.Connections == 1 {
		s = "1 live connection"
	}
	if len(r.Nodes) > 0 {
		var parts []string
		for _, n := range r.Nodes {
			parts = append(parts, fmt.Sprintf("%s (%d)", n.Node, n.Connections))
		}
		s += " on " + plain.Few(parts)
	}
	if len(r.Uncounted) > 0 {
		s += "; not counted yet: " + plain.Few(r.Uncounted)
	}
	if len(r.Unreachable) > 0 {
		s += "; out of reach: " + plain.Few(r.Unreachable)
	}
	return s
}

// done says that every node that can be asked has said that it carries none.
func (r Remaining) done() bool { return r.Connections == 0 && len(r.Uncounted) == 0 }

// Drained returns when no node carries a live TCP connection to an instance any more. A node counts only if it has
// counted since it applied the revision; silence is not 0. A node that loses its contact to etcd meanwhile is waited for
// another 30 s; one that had none from the beginning is named and not waited for. When the context's deadline comes
// first it is ErrRemaining. Progress may be nil.
func Drained(ctx context.Context, store Store, want Drain, progress func(Remaining)) (Remaining, error) {
	d := draining{want: want, start: time.Now(), seen: map[string]time.Time{}}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	news, ended := make(chan report), make(chan error, 1)
	go func() {
		ended <- store.WatchApplied(watching, func(alive map[string]bool, applied map[string]cluster.Applied) bool {
			select {
			case news <- report{alive, applied}:
			case <-watching.Done():
			}
			return false
		})
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case r := <-news:
			d.report = r
		case <-tick.C: // the time of a node that is cut off may be over
		case err := <-ended:
			return d.Remaining, d.cut(ctx, err)
		}
		if d.alive == nil {
			continue
		}
		if d.update(time.Now()) && progress != nil {
			progress(d.Remaining)
		}
		if d.done() {
			stop()
			<-ended
			return d.Remaining, d.nobody()
		}
	}
}

// report is what the nodes said last.
type report struct {
	alive   map[string]bool
	applied map[string]cluster.Applied
}

type draining struct {
	report
	Remaining
	want  Drain
	start time.Time
	seen  map[string]time.Time // when a node was last known to be alive
	told  string               // the last progress
}

// update counts anew and tells whether that says something else than before.
func (d *draining) update(now time.Time) bool {
	d.Remaining = Remaining{Took: now.Sub(d.start)}
	for node, alive := range d.alive {
		if alive {
			d.seen[node] = now
		}
	}
	nodes := map[string]bool{}
	for node := range d.applied {
		nodes[node] = true
	}
	for node := range d.seen {
		nodes[node] = true
	}
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		d.add(node, now)
	}
	last := d.told
	d.told = d.String()
	return d.told != last
}

func (d *draining) add(node string, now time.Time) {
	a, told := d.applied[node]
	seen, known := d.seen[node]
	switch {
	case !known || now.Sub(seen) >= cutOff:
		d.Unreachable = append(d.Unreachable, node)
	case !d.alive[node]:
		d.Uncounted = append(d.Uncounted, node+" (lost its contact to etcd)")
	case !told:
		d.Uncounted = append(d.Uncounted, node+" (has told nothing yet)")
	case a.FlowsRevision >= d.want.Revision:
		if n := a.Flows[d.want.Service+"/"+d.want.Instance]; n > 0 {
			d.Connections += n
			d.Nodes = append(d.Nodes, NodeFlows{node, n})
		}
	case a.FlowsRevision == 0 && a.Revision >= d.want.Revision:
		d.Uncounted = append(d.Uncounted, node+" (its agent may be too old to count)")
	case a.Revision >= d.want.Revision:
		d.Uncounted = append(d.Uncounted, node)
	default:
		d.Uncounted = append(d.Uncounted, fmt.Sprintf("%s (at revision %d)", node, a.Revision))
	}
}

// nobody is an error when there was no node to ask.
func (d *draining) nobody() error {
	if slices.Contains(slices.Collect(maps.Values(d.alive)), true) {
		return nil
	}
	return fmt.Errorf("%s/%s is drained, but no node is alive to say what it carries: see weir get nodes", d.want.Service, d.want.Instance)
}

// cut is the error of a wait that did not come to its end.
func (d *draining) cut(ctx context.Context, err error) error {
	what := d.want.Service + "/" + d.want.Instance + " is drained"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		if d.alive == nil {
			return fmt.Errorf("%w, as far as is known: %s, and the nodes could not be asked%s", ErrRemaining, what, why(err))
		}
		return fmt.Errorf("%w: %s, and after %s: %s%s", ErrRemaining, what, round(time.Since(d.start)), d.Remaining, why(err))
	}
	return fmt.Errorf("%s, but waiting for its connections was cut short: %w", what, err)
}
