package chaos

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/integration"
)

var processCases = map[string]func(*run){
	"A1":  killIdle,
	"A2":  killApplying,
	"A4":  outOfMemory,
	"A5":  upgrade,
	"A6":  otherChains,
	"A7":  secondAgent,
	"A8":  notPermitted,
	"A9":  kernelHangs,
	"A10": watchdog,
	"A11": leaks,
	"A12": noDisk,
	"A13": coldStart,
	"A15": uninstall,
}

func killIdle(r *run) {
	w := r.world(integration.Options{})
	p, a := r.probe(w), w.Agents[0]
	a.Kill()
	p.more(1000)
	began := time.Now()
	a.Start()
	a.AwaitReady(10 * time.Second)
	r.repaired(time.Since(began))
	writes := a.Metric("weir_agent_writes_total")
	r.figure("writes", writes)
	p.more(300)
	p.unharmed()
	require.Zero(r, writes, "written at the start")
}

// killApplying changes the port of every instance of so many services, again and again, and kills the agent at moments
// spread over the whole of that. The change is one transaction: all frontends lead to the new port, or none.
func killApplying(r *run) {
	const services, kills = 4000, 40 // 8,000 slots
	w := r.world(integration.Options{Nodes: 1})
	p, a := r.probe(w), w.Agents[0]
	a.AwaitRevision(w.PutAll(integration.Many(services, 2, 80)), time.Minute)
	a.Kill()
	revision := w.PutAll(integration.Many(services, 2, 82))
	began := time.Now()
	a.Start()
	a.AwaitRevision(revision, time.Minute) // undisturbed: how long it takes
	whole, moved, partial := time.Since(began), 0, 0
	for n := range kills {
		a.Kill()
		port := uint16(84 + 2*n)
		revision = w.PutAll(integration.Many(services, 2, port))
		a.Start()
		<-time.After(whole * time.Duration(n+1) / kills) // the fault itself: no condition to wait for
		a.Kill()
		switch w.Sound(w.Nodes[0], services+2, port) {
		case 0:
		case services:
			moved++
		default:
			partial++
		}
		a.Start()
	}
	a.AwaitRevision(revision, time.Minute)
	r.figure("kills", kills)
	r.figure("killed_after_the_write", float64(moved))
	r.figure("partial", float64(partial))
	require.Equal(r, services, w.Sound(w.Nodes[0], services+2, 84+2*(kills-1)))
	p.unharmed()
	require.Zero(r, partial, "kills that left part of a change")
}

func secondAgent(r *run) {
	w := r.world(integration.Options{})
	p := r.probe(w)
	before := r.ruleset(w.Nodes[0])
	second := w.NewAgent("other", w.Nodes[0])
	began := time.Now()
	second.Start()
	code := second.AwaitEnd()
	r.detected(time.Since(began))
	r.figure("exit_code", float64(code))
	require.Equal(r, 4, code, second.Log())
	require.Contains(r, second.Log(), "another weir agent runs in this network namespace: stop it first")
	require.Equal(r, before, r.ruleset(w.Nodes[0]))
	w.Agents[0].AwaitReady(time.Second)
	p.unharmed()
}
