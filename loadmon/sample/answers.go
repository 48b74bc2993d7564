package sample

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// Add puts what instances say of themselves into their loads. An answer counts for 15 seconds.
func (a *Asker) Add(loads []loadmon.Load, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range loads {
		given, known := a.answers[ID{loads[i].Service, loads[i].Instance}]
		if known && !given.at.IsZero() && now.Sub(given.at) < kept {
			loads[i].Utilization, loads[i].Wish = given.utilization, given.wish
		}
	}
}

// Questions are those that one instance was asked by HTTP.
type Questions struct {
	To    netip.AddrPort
	Count uint64 // a counter
}

// Asked is how often each instance was asked by HTTP. These connections are among those that the kernel counts.
func (a *Asker) Asked() map[ID]Questions {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[ID]Questions{}
	for _, asks := range a.services {
		for _, k := range asks {
			if k.path != "" {
				out[k.ID] = Questions{To: k.address, Count: a.answers[k.ID].asked}
			}
		}
	}
	return out
}

// maxProblems is how many troubles are told of one by one.
const maxProblems = 50

// Problems are the instances that do not say, or not as they should, how they are.
func (a *Asker) Problems() (out []cluster.Problem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ids := slices.SortedFunc(maps.Keys(a.answers), ID.compare)
	more := 0
	for _, id := range ids {
		given := a.answers[id]
		if given.trouble == "" {
			continue
		}
		if len(out) == maxProblems {
			more++
			continue
		}
		what := given.trouble
		if !given.at.IsZero() && time.Since(given.at) < kept {
			what += "; the last good figures stay"
		}
		out = append(out, cluster.Problem{
			Object: "service " + id.Service, Field: "load", What: fmt.Sprintf("instance %s does not tell its load: %s", id.Instance, what),
			Fix: "look at what the instance answers, or at load in the service's file",
		})
	}
	if more > 0 {
		out = append(out, cluster.Problem{Object: "node " + a.o.Node, Field: "load", What: fmt.Sprintf("%d more instances do not tell their load", more)})
	}
	return out
}
