package chaos

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/integration"
)

var processCases = map[string]func(*run){
	"A1": killIdle,
	"A7": secondAgent,
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
