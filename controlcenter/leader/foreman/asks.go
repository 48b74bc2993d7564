package foreman

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// mostHeard bounds of how many instances of a service it is kept what they asked for.
const mostHeard = 100

// asked is what a service's instances ask for.
type asked struct {
	asks  []loadmon.Ask
	heard map[string]cluster.Heard // to be kept, so that whoever leads next hears nothing twice
	news  []string                 // what is heard for the first time, in words
}

// listen hears the instances of a service. What was asked counts for its time by this host's clock, also when its instance
// has gone meanwhile: more than there are is asked for by those who cannot go on.
func listen(service string, ops *cluster.Operations, before cluster.Scaled, now time.Time) asked {
	a := asked{heard: map[string]cluster.Heard{}}
	for _, node := range slices.Sorted(maps.Keys(ops.Launched)) {
		for _, id := range slices.Sorted(maps.Keys(ops.Launched[node])) {
			l := ops.Launched[node][id]
			if l.Ask == nil || l.Service != service || !ops.Assigned[node][id].Wanted.Kept() {
				continue
			}
			known, there := before.Heard[id]
			if there && known.At.Equal(l.Ask.At) {
				a.heard[id] = known // also after its time, so that it is not new again
				continue
			}
			if len(a.heard) < mostHeard {
				a.heard[id] = understand(*l.Ask, before.Replicas, now)
				a.news = append(a.news, askOf(id, a.heard[id]).String())
			}
		}
	}
	for id, h := range before.Heard {
		if _, again := a.heard[id]; !again && now.Before(h.Until) && len(a.heard) < mostHeard {
			a.heard[id] = h
		}
	}
	for _, id := range slices.Sorted(maps.Keys(a.heard)) {
		if now.Before(a.heard[id].Until) {
			a.asks = append(a.asks, askOf(id, a.heard[id]))
		}
	}
	return a
}

// understand makes of what an instance asks for a number, which does not grow with what follows from it.
func understand(a cluster.Ask, have int, now time.Time) cluster.Heard {
	h := cluster.Heard{Replicas: a.Replicas, Reason: a.Reason, At: a.At, Until: now.Add(time.Duration(min(a.For, cluster.MaxAsk))).UTC()}
	if a.More > 0 {
		h.Replicas = have + a.More
	}
	return h
}

func askOf(id string, h cluster.Heard) loadmon.Ask {
	return loadmon.Ask{By: "instance " + id, Want: h.Replicas, Why: h.Reason}
}

// fewNews is how many instances an event names.
const fewNews = 5

// beside is why a decision was made, with what was heard where that is not the reason itself.
func (a asked) beside(d loadmon.ScaleDecision) string {
	text := d.Reason
	for i, news := range a.news {
		if i == fewNews {
			return text + fmt.Sprintf("; and %d more ask", len(a.news)-i)
		}
		if !strings.Contains(d.Reason, news) {
			text += "; " + news
		}
	}
	return text
}

// Unheard are Problems of asks that nothing follows from, which were taken up before their launchers knew that the number is fixed.
func Unheard(s *cluster.Snapshot, ops *cluster.Operations) (out []cluster.Problem) {
	for _, node := range slices.Sorted(maps.Keys(ops.Launched)) {
		for _, id := range slices.Sorted(maps.Keys(ops.Launched[node])) {
			l := ops.Launched[node][id]
			in, published := s.Services.Get(l.Service)
			if l.Ask == nil || !published || in.Service.Scale != nil || !ops.Assigned[node][id].Wanted.Kept() {
				continue
			}
			out = append(out, cluster.Problem{
				Object: "service " + l.Service, Field: "scale", What: fmt.Sprintf("instance %s on node %s asks for more, and their number is fixed", id, node),
				Fix: "give the service scale: {min, max}, within which instances are heard",
			})
		}
	}
	return out
}
