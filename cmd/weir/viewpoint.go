package main

import (
	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/rules"
)

// viewpoint are the flags of an agent that its rules depend on, for commands that compare with what it wrote.
type viewpoint struct {
	node       string
	ping       bool
	budget     int
	keepSource keepSourceFlag
	driver     driverFlags
}

func (v *viewpoint) register(flags *pflag.FlagSet) {
	flags.StringVar(&v.node, "node", hostName(), "this node's name in the cluster")
	flags.BoolVar(&v.ping, "ping", false, "the agent's: VIPs answer ping")
	flags.IntVar(&v.budget, "budget", rules.DefaultBudget, "the agent's: slots that this node may hold")
	v.keepSource.register(flags)
	v.driver.register(flags)
}

// options are those that the agent builds its rules with.
func (v *viewpoint) options(d driver) rules.Options {
	o := rules.Options{Node: v.node, Ping: v.ping, Budget: v.budget, KeepSource: v.keepSource.prefixes, NoTables: noTables(d)}
	if len(o.KeepSource) > 0 {
		o.Links = agent.AttachedNetworks()
	}
	return o
}
