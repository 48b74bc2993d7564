package leader

import (
	"time"

	"github.com/weir-lb/weir/cluster"
)

// roundReport is what one round found and did. It is not changed afterwards.
type roundReport struct {
	began    time.Time
	took     time.Duration
	paused   bool
	snapshot *cluster.Snapshot
	answers  []answer
	services []serviceReport
	problems []cluster.Problem
	err      error
}

// serviceReport is what is decided about one service at present.
type serviceReport struct {
	Service  string                      `json:"service"`
	Mode     mode                        `json:"mode"`
	Reason   string                      `json:"reason"`            // why weights moved in the last round, or why not
	Written  time.Time                   `json:"written,omitzero"`  // when this leader wrote weights last
	Revision int64                       `json:"revision,omitzero"` // of that write
	Shares   map[string]float64          `json:"shares,omitempty"`  // percent
	Ejected  map[string]cluster.Ejection `json:"ejected,omitempty"`
}

// tell publishes the round to pages, metrics and log.
func (b *balance) tell(r *roundReport) {
	b.logProblems(r.problems)
	b.metrics.told(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.round = r
}

// maxLogged bounds what one round tells the log of problems; the page has all.
const maxLogged = 10

// logProblems tells the log of problems that were there in this round and the one before, once: what lasts a moment is none.
func (b *balance) logProblems(problems []cluster.Problem) {
	now, logged := map[string]bool{}, 0
	for _, p := range problems {
		key := p.Object + " " + p.Field
		told, before := b.told[key]
		if now[key] = told; told || !before {
			continue
		}
		if now[key] = true; logged < maxLogged {
			b.log.Warn("problem", "what", p.Error())
		}
		logged++
	}
	if logged > maxLogged {
		b.log.Warn("more problems: see /debug/problems", "more", logged-maxLogged)
	}
	for key, told := range b.told {
		if _, still := now[key]; told && !still {
			b.log.Info("problem is over", "what", key)
		}
	}
	b.told = now
}

// services are the reports of all that is decided about.
func (b *balance) services(led []ledService) (out []serviceReport) {
	for _, l := range led {
		m := b.remembered[l.name()]
		if m == nil {
			continue // paused since the beginning
		}
		r := serviceReport{Service: l.name(), Mode: l.mode, Reason: m.last.Reason, Written: m.lastAt, Revision: m.revision, Ejected: m.last.Ejected}
		r.Shares = make(map[string]float64, len(m.last.Shares))
		for id, share := range m.last.Shares {
			r.Shares[id] = percent(share)
		}
		out = append(out, r)
	}
	return out
}
