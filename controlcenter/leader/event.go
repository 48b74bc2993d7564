package leader

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// event tells of a decision: why, from which numbers, and what came out. Shares are in percent. Figures that nobody knows are left
// out: a 0 would say that the instance has nothing to do.
func event(l ledService, before *cluster.Weights, d loadmon.Decision) cluster.Event {
	e := cluster.Event{Service: l.name(), What: cluster.EventWeights, Reason: reason(before, d), In: cluster.Figures{}, Out: cluster.Figures{}}
	for _, c := range d.Changes {
		in := map[string]float64{}
		if c.Measured {
			in["rate"], in["active"], in["busy"] = c.Rate, c.Active, c.Busy
		}
		for name, v := range map[string]float64{ // named by cluster.ValidName, so with no underscore as fields of JSON have
			"share": percent(c.From), "failed": c.Failed, "latency-ms": c.LatencyMS, "capacity": c.Capacity, "error": c.Error, "wish": c.Wish,
		} {
			if v != 0 {
				in[name] = v
			}
		}
		e.In[c.Instance] = in
	}
	for id, share := range d.Shares {
		e.Out[id] = map[string]float64{"share": percent(share)}
	}
	for id := range d.Ejected {
		e.Out[id] = map[string]float64{"share": 0}
	}
	return e
}

func percent(share int) float64 { return 100 * float64(share) / loadmon.Whole }

// reason begins with what is rarer than a move.
func reason(before *cluster.Weights, d loadmon.Decision) string {
	if before == nil {
		before = &cluster.Weights{}
	}
	var out, back []string
	for _, id := range slices.Sorted(maps.Keys(d.Ejected)) {
		if _, was := before.Ejected[id]; !was {
			out = append(out, fmt.Sprintf("%s is ejected: %s", id, d.Ejected[id].Reason))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(before.Ejected)) {
		if _, is := d.Ejected[id]; !is {
			back = append(back, id+" is taken back after its ejection")
		}
	}
	return strings.Join(slices.Concat(few(out), few(back), []string{d.Reason}), "; ")
}

// fewNamed is how many instances a reason names that were ejected, or taken back: an event with a third of a large service in it
// would be too long to be written, and the weights with it.
const fewNamed = 5

func few(parts []string) []string {
	if more := len(parts) - fewNamed; more > 0 {
		return append(parts[:fewNamed], fmt.Sprintf("and so on for %d more", more))
	}
	return parts
}

// taken tells that the weights of a service were taken back.
func taken(l ledService, before *cluster.Weights, reason string) cluster.Event {
	e := cluster.Event{Service: l.name(), What: cluster.EventWeights, Reason: reason, In: cluster.Figures{}}
	sum := 0
	for _, share := range before.Share {
		sum += share
	}
	for id, share := range before.Share {
		if cluster.ValidID(id) == "" && sum > 0 {
			e.In[id] = map[string]float64{"share": 100 * float64(share) / float64(sum)}
		}
	}
	return e
}
