package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon/check"
)

type reportOptions struct {
	*app
	id      check.ID
	states  map[check.State]*bool
	output  string
	monitor string
}

func newReportCmd(a *app, runF func(context.Context, *reportOptions, netip.AddrPort, check.Word) error) *cobra.Command {
	o := &reportOptions{app: a, states: map[check.State]*bool{}}
	c := &cobra.Command{
		Use:   "report SERVICE --instance ID [--ok | --fail | --leave | --back]",
		Short: "Say how an instance of this host is doing, as the instance itself",
		Long: `Say how an instance of this host is doing, to the load monitor that runs here. No etcd is asked, and any process of the host may
say it. Without one of the states it is --ok.

A service with the check "ttl: {}" waits for such reports: an instance that is silent for longer is failing. Instances of any
service may --fail, until they are --ok, and may --leave: then they take no new connections until they come --back or are
started anew.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.id.Service = args[0]
			to, word, err := o.read()
			if err != nil {
				return &usageError{err}
			}
			if runF != nil {
				return runF(c.Context(), o, to, word)
			}
			return check.Report(c.Context(), to, o.id, word)
		},
	}
	for _, s := range []struct {
		state check.State
		help  string
	}{
		{check.OK, "it is well"}, {check.Fail, "it is failing, until it says --ok"},
		{check.Leave, "it wants no new connections; live ones go on"}, {check.Back, "it wants new connections again"},
	} {
		o.states[s.state] = c.Flags().Bool(string(s.state), false, s.help)
	}
	c.Flags().StringVar(&o.id.Instance, "instance", "", "the instance's id: its address as in weir get instances, unless it has another")
	c.Flags().StringVar(&o.output, "output", "", fmt.Sprintf("what to tell with it: one line, of which %d bytes are kept", cluster.MaxOutput))
	c.Flags().StringVar(&o.monitor, "to", check.ReportAddress.String(), "where the load monitor listens: the --report-listen of weir agent")
	return c
}

func (o *reportOptions) read() (to netip.AddrPort, word check.Word, err error) {
	word = check.Word{State: check.OK, Output: o.output}
	n := 0
	for state, chosen := range o.states {
		if *chosen {
			word.State = state
			n++
		}
	}
	if n > 1 {
		return to, word, errors.New("give one of --ok, --fail, --leave and --back")
	}
	if to, err = netip.ParseAddrPort(o.monitor); err != nil || !to.Addr().Unmap().IsLoopback() {
		return to, word, fmt.Errorf("--to %q: want a loopback address such as %s: instances are heard on their own host alone", o.monitor, check.ReportAddress)
	}
	if why := cluster.ValidName(o.id.Service); why != "" {
		return to, word, fmt.Errorf("service: %s", why)
	}
	if why := cluster.ValidID(o.id.Instance); why != "" {
		return to, word, fmt.Errorf("--instance: %s: give its id as in weir get instances %s", why, o.id.Service)
	}
	return to, word, nil
}
