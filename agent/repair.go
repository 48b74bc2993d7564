package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// repaired tells of drift that was found and mended.
func (a *Agent) repaired(began time.Time) {
	doubt := a.doubt
	a.doubt = nil
	if doubt == nil || doubt.found == nil {
		return
	}
	wrong := time.Since(doubt.since)
	one := cluster.Repair{
		At: time.Now().UTC(), Cause: doubt.cause, What: doubt.text(), Who: strings.Join(firstOf(doubt.who, 3), ", "),
		WrongMS: float64(wrong.Microseconds()) / 1000, Writes: doubt.found.Writes(),
	}
	a.c.Metrics.repairs.WithLabelValues(one.Cause).Inc()
	a.mu.Lock()
	a.repairs = a.repairs.Add(one)
	a.fight.took = time.Since(began)
	quiet := a.fight.on(time.Now()) // the Problem tells of it, once
	a.mu.Unlock()
	a.herald.Kick()
	level := a.c.Logger.Warn
	if quiet {
		level = a.c.Logger.Debug
	}
	level("rules were changed by somebody else and are repaired", "cause", one.Cause, "what", one.What, "who", one.Who,
		"writes", one.Writes, "wrong_for", wrong.Round(time.Millisecond).String())
}

// fights is the Problem of a fight, while there is one.
func (a *Agent) fights() []cluster.Problem {
	a.mu.Lock()
	defer a.mu.Unlock()
	on := a.fight.on(time.Now())
	a.c.Metrics.fight.Set(truth(on))
	if !on {
		return nil
	}
	return []cluster.Problem{{
		Object: "node", Field: "rules", What: "another program changes our rules again and again; they are repaired, but at most once a second: " + a.foe,
		Fix: "stop it, or keep it from tables named weir; /debug/repairs has the newest repairs",
	}}
}

// Repairs are the repairs since the agent was made.
func (a *Agent) Repairs() cluster.Repairs {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.repairs
}

// WriteRepairs writes them as JSON.
func (a *Agent) WriteRepairs(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(a.Repairs())
}

// tellRepairs reports what has not been told yet. A node that may not is told so once: a role that was made by an older
// version lacks the key.
func (a *Agent) tellRepairs(ctx context.Context) error {
	repairs := a.Repairs()
	if repairs.Count == a.told || a.c.Source.Connected() != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := a.c.Report.Repaired(ctx, a.c.Node, repairs)
	if errors.Is(err, cluster.ErrDenied) {
		if !a.muted {
			a.c.Logger.Warn("repairs are told in the log only", "err", err)
		}
		a.muted, a.told = true, repairs.Count
		return nil
	}
	if err == nil {
		a.muted, a.told = false, repairs.Count
	}
	return err
}
