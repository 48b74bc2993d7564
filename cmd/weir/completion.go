package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

// completionPatience is how long a shell may hang at a tab because etcd does not answer.
const completionPatience = 2 * time.Second

// linkName is the name of a link to the binary that means "weir controlcenter".
const linkName = "controlcenter"

// fileFlags take a path: there the shell's own completion is right.
var fileFlags = map[string]bool{"etcd-ca": true, "etcd-cert": true, "etcd-key": true, "etcd-password-file": true, "file": true, "state-dir": true}

// wordFlags take one of a few words.
var wordFlags = map[string][]string{
	"table-owner": {"auto", "off"},
	"driver":      {"auto", "nft", "ipt"},
	"iptables":    {"auto", "nft", "legacy"},
	"log-format":  {"text", "json"},
	"log-level":   {"debug", "info", "warn", "error"},
	"balance":     {string(cluster.BalanceUniform), string(cluster.BalanceStatic), string(cluster.BalanceAdaptive)},
	"affinity":    {string(cluster.AffinityNone), string(cluster.AffinitySource)},
	"sort":        strings.Split(topOrders(), "|"),
	"story":       stories,
	"output":      {"text", "json"}, // of demo; the others know theirs
}

// candidates are what an argument may be, given those before it.
type candidates func(s *cluster.Snapshot, before []string) []cobra.Completion

// addCompletion tells the shell what may follow. It is done for the whole tree at once, so that a command that nobody
// thought of offers nothing rather than the names of files.
func addCompletion(a *app, c *cobra.Command) {
	switch c.Name() {
	case "withdraw", "service", "services", "instances", "events", "report":
		c.ValidArgsFunction = a.complete(nth(serviceNames))
	case "drain", "undrain", "weight":
		c.ValidArgsFunction = a.complete(nth(serviceNames, instanceIDs))
	case "nodes", "down", "forget":
		c.ValidArgsFunction = a.complete(nth(nodeNames))
	case "rbac":
		c.ValidArgsFunction = a.complete(nodeNames)
	case "trace":
		c.ValidArgsFunction = a.complete(nth(frontends))
	case "explain":
		c.ValidArgsFunction = a.complete(nth(clients, frontends))
	default:
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if complete := a.flagCompletion(f); complete != nil {
			_ = c.RegisterFlagCompletionFunc(f.Name, complete) // fails for a flag that another command registered
		}
	})
	for _, sub := range c.Commands() {
		addCompletion(a, sub)
	}
}

func (a *app) flagCompletion(f *pflag.Flag) cobra.CompletionFunc {
	if fileFlags[f.Name] {
		return nil
	}
	if o, ok := f.Value.(*outputFlag); ok {
		return cobra.FixedCompletions(o.allowed, cobra.ShellCompDirectiveNoFileComp)
	}
	if f.Name == "node" {
		return a.complete(func(s *cluster.Snapshot, _ []string) []cobra.Completion { return nodeNames(s, nil) })
	}
	return cobra.FixedCompletions(wordFlags[f.Name], cobra.ShellCompDirectiveNoFileComp)
}

// complete asks etcd. Whatever goes wrong, it offers nothing and says nothing: the operator is in the middle of a line.
func (a *app) complete(list candidates) cobra.CompletionFunc {
	return func(c *cobra.Command, before []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var fitting []cobra.Completion
		for _, candidate := range list(a.completionSnapshot(c), before) {
			if strings.HasPrefix(candidate, begun) {
				fitting = append(fitting, candidate)
			}
		}
		slices.Sort(fitting)
		return fitting, cobra.ShellCompDirectiveNoFileComp
	}
}

// completionSnapshot is empty when etcd does not answer in time.
func (a *app) completionSnapshot(c *cobra.Command) *cluster.Snapshot {
	snapshot := &cluster.Snapshot{}
	if fromEnvironment(c.Root().PersistentFlags()) != nil {
		return snapshot
	}
	a.etcd.timeout = min(a.etcd.timeout, completionPatience)
	ctx, cancel := context.WithTimeout(c.Context(), a.etcd.timeout)
	defer cancel()
	_ = a.with(ctx, func(s store) error {
		have, err := s.Snapshot(ctx)
		if err == nil {
			snapshot = have
		}
		return err
	})
	return snapshot
}

// nth has candidates for each argument by its place, and none for those after.
func nth(places ...candidates) candidates {
	return func(s *cluster.Snapshot, before []string) []cobra.Completion {
		if len(before) >= len(places) {
			return nil
		}
		return places[len(before)](s, before)
	}
}

func serviceNames(s *cluster.Snapshot, _ []string) (names []cobra.Completion) {
	for name := range s.Services.All() {
		names = append(names, name)
	}
	return names
}

// instanceIDs are those of the service named first.
func instanceIDs(s *cluster.Snapshot, before []string) (ids []cobra.Completion) {
	rows, err := controlcenter.Instances(s, before[0], time.Now())
	if err != nil {
		return nil
	}
	for _, r := range rows {
		ids = append(ids, cobra.CompletionWithDesc(r.ID, fmt.Sprintf("%s, weight %d", r.State, r.Weight)))
	}
	return ids
}

// nodeNames are those that were not given yet.
func nodeNames(s *cluster.Snapshot, before []string) (names []cobra.Completion) {
	given := map[string]bool{}
	for _, name := range before {
		given[name] = true
	}
	for name := range s.Nodes.All() {
		if !given[name] {
			names = append(names, name)
		}
	}
	return names
}

func clients(*cluster.Snapshot, []string) []cobra.Completion {
	return []cobra.Completion{cobra.CompletionWithDesc("local", "a process of the node itself")}
}

func frontends(s *cluster.Snapshot, _ []string) (all []cobra.Completion) {
	rows, err := controlcenter.Services(s, "")
	if err != nil {
		return nil
	}
	for _, r := range rows {
		for _, front := range r.Frontends {
			all = append(all, cobra.CompletionWithDesc(front, "service "+r.Name))
		}
	}
	return all
}

// completionCommand makes cobra's own command as strict as ours: by itself it answers a wrong shell with help and 0.
func (a *app) completionCommand(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			strict := a.group("", "")
			c.Args, c.RunE = strict.Args, strict.RunE
		}
	}
}
