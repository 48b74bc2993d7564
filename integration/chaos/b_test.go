package chaos

import (
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/integration"
)

var kernelCases = map[string]func(*run){
	"B1": flushRuleset,
}

func flushRuleset(r *run) {
	const flushes = 20
	w := r.world(integration.Options{})
	p, a := r.probe(w), w.Agents[0]
	for n := range flushes {
		w.NFT(w.Nodes[0], "flush ruleset")
		if r.Owner == "off" {
			r.repaired(w.Eventually(time.Second, "the rules are back", func() bool { return a.Metric("weir_agent_repairs_total") == float64(n+1) }))
		}
		p.more(20)
	}
	if r.Owner == "auto" {
		p.unharmed()
		require.Zero(r, a.Metric("weir_agent_repairs_total"))
		return
	}
	p.stop()
	require.Contains(r, a.Log(), "nft (pid ", "the log names who it was")
	w.Only(w.Nodes[0], p.tcp, p.addresses...)
	w.Only(w.Client, p.tcp, p.addresses...)
}
