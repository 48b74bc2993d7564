package chaos

// kernelRows are rules that others change, and what the network around them does.
var kernelRows = []Row{{
	ID:       "B1",
	Fault:    "nft flush ruleset, 20 times under load",
	Expected: "owned tables do not notice; others are repaired",
	Target:   "owner auto: conn_failed 0, live_broken 0; off: t_repair p99 < 1 s",
	Promises: []int{3},
	Variants: both,
	Quick:    []Variant{nftOff},
	Mutation: Mutation{
		File: "agent/drift.go", Why: "nobody is told of foreign changes", Variant: nftOff,
		Old: "\ta.mu.Unlock()\n\ta.syncer.Kick()",
		New: "\ta.mu.Unlock()",
	},
}}
