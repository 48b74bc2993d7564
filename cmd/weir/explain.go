package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/rules"
)

type explainOptions struct {
	*app
	client     netip.Addr // invalid: a process of the node itself
	frontend   cluster.Frontend
	node       string
	keepSource keepSourceFlag
	output     outputFlag
}

func newExplainCmd(a *app) *cobra.Command {
	o := &explainOptions{app: a}
	c := &cobra.Command{
		Use:   "explain {CLIENT|local} VIP:PORT[/udp]",
		Short: "Say step by step what becomes of a client's connection, and why",
		Long: `Say what a node does with the first packet of a connection: which route, which map entry, which slots with what chance, and
which instances are left out and why; and list the connections that live. CLIENT is an address, or "local" for a process of the
node. On the node itself its kernel is asked, elsewhere the rules that etcd implies.`,
		Args: exactly(2),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.parse(args); err != nil {
				return &usageError{err}
			}
			return o.with(c.Context(), func(s store) error { return runExplain(c.Context(), o, s) })
		},
	}
	c.Flags().StringVar(&o.node, "node", "", "the node whose rules are asked; default: this one")
	o.keepSource.register(c.Flags())
	o.output.register(c.Flags(), "table", "table", "json", "yaml")
	return c
}

func (o *explainOptions) parse(args []string) (err error) {
	if args[0] != "local" {
		if o.client, err = netip.ParseAddr(args[0]); err != nil {
			return fmt.Errorf("client %q: want an address, or local: %w", args[0], err)
		}
	}
	if o.frontend, err = cluster.ParseFrontend(args[1]); err != nil {
		return err
	}
	if o.client.IsValid() && o.client.Is4() != o.frontend.VIP.Is4() {
		return fmt.Errorf("%s cannot connect to %s: they are of different address families", o.client, o.frontend.VIP)
	}
	return nil
}

// explanation is the whole answer.
type explanation struct {
	Client   string       `json:"client"`
	Frontend string       `json:"frontend"`
	Node     string       `json:"node,omitempty"`
	Basis    string       `json:"basis"` // the kernel, or etcd at a revision
	Service  string       `json:"service,omitempty"`
	Route    string       `json:"route,omitempty"`
	Sources  []string     `json:"sources,omitzero"`   // who may connect; left out: everybody
	Locality string       `json:"locality,omitempty"` // which instances the node prefers, and why
	Steps    []rules.Step `json:"steps"`
	Outcome  string       `json:"outcome"`
	Chances  []chance     `json:"chances,omitempty"`
	LeftOut  []leftOut    `json:"left_out,omitempty"`
	Flows    []agent.Flow `json:"flows"`
	Notes    []string     `json:"notes,omitempty"`
}

type chance struct {
	Target string  `json:"target"`
	Slots  int     `json:"slots"`
	Chance float64 `json:"chance"` // percent
}

type leftOut struct {
	Instance string `json:"instance"`
	Status   string `json:"status"`
	Reason   string `json:"reason"`
	Since    string `json:"since,omitempty"`
	Output   string `json:"output,omitempty"` // of the check that failed
}

func runExplain(ctx context.Context, o *explainOptions, s store) error {
	snapshot, err := o.snapshot(ctx, s)
	if err != nil {
		return err
	}
	e, err := o.explain(ctx, snapshot)
	if err != nil {
		return err
	}
	if o.output.format != "table" {
		return printData(o.out, o.output.format, e)
	}
	e.print(o.out)
	return nil
}

func (o *explainOptions) explain(ctx context.Context, snapshot *cluster.Snapshot) (*explanation, error) {
	e := &explanation{Client: "a process of the node", Frontend: o.frontend.String(), Node: o.node, Flows: []agent.Flow{}}
	if o.client.IsValid() {
		e.Client = o.client.String()
	}
	addresses, here, err := o.addresses(snapshot)
	if err != nil {
		return nil, err
	}
	local := !o.client.IsValid() || o.client.IsLoopback() || slices.Contains(addresses, o.client)
	source := o.client
	if local {
		source = sourceOf(addresses, o.frontend.VIP)
	}
	state, err := o.state(ctx, snapshot, here, e)
	if err != nil {
		return nil, err
	}
	verdict := rules.Trace(state, rules.Packet{Source: source, To: o.frontend, Local: local})
	e.Steps, e.Outcome = verdict.Steps, string(verdict.Outcome)
	if verdict.Outcome != rules.Refused {
		e.chances(state.Placed[o.frontend], verdict)
	}
	e.instances(snapshot, o.frontend, o.place(snapshot, here))
	if local && e.Basis == ofThisKernel {
		e.Route, _ = agent.RouteTo(o.frontend.VIP)
	}
	if e.Service != "" && verdict.Outcome == rules.Passes {
		e.Notes = append(e.Notes, fmt.Sprintf("etcd says that service %s is there, but this kernel does not hold it: see weir rules diff, and whether the agent runs", e.Service))
	}
	if verdict.Outcome == rules.Held {
		e.Notes = append(e.Notes, "it sleeps: a connection is not answered, this node's agent tells the leader, and the client's own retry finds the instance that is started then")
	}
	if o.client.IsLoopback() {
		e.Notes = append(e.Notes, "a socket that is bound to a loopback address cannot reach a VIP: its packets never leave lo")
	}
	return e, nil
}

// addresses are those of the node that is asked about, and whether that is this one.
func (o *explainOptions) addresses(snapshot *cluster.Snapshot) (addresses []netip.Addr, here bool, err error) {
	mine, mineErr := agent.Addresses()
	if o.node == "" {
		return mine, true, mineErr
	}
	node, known := snapshot.Nodes.Get(o.node)
	if !known {
		return nil, false, fmt.Errorf("there is no node %q: see weir get nodes", o.node)
	}
	return node.Addresses, mineErr == nil && slices.Equal(node.Addresses, mine), nil
}

// sourceOf is the address that a process of the node would use.
func sourceOf(addresses []netip.Addr, vip netip.Addr) netip.Addr {
	for _, a := range addresses {
		if a.Is4() == vip.Is4() {
			return a
		}
	}
	return vip // without an address of the family the kernel has nothing else
}

const ofThisKernel = "the kernel of this node"

// state is what the node's kernel holds, where it is this one, else what etcd implies.
func (o *explainOptions) state(ctx context.Context, snapshot *cluster.Snapshot, here bool, e *explanation) (*rules.State, error) {
	if here {
		state, err := readKernel(ctx)
		if err == nil {
			e.Basis = ofThisKernel
			for _, damage := range state.Damage {
				e.Notes = append(e.Notes, fmt.Sprintf("%s: %s", damage.Object, damage.What))
			}
			if e.Flows, err = agent.FlowsTo(o.frontend, o.client); err != nil {
				e.Notes = append(e.Notes, err.Error())
			}
			return state, nil
		}
		e.Notes = append(e.Notes, "this kernel cannot be read: "+err.Error())
	}
	e.Basis = fmt.Sprintf("etcd at revision %d, for the driver nft: the kernel is asked on the node itself, as root", snapshot.Revision)
	want := rules.Build(nil, snapshot, rules.Options{KeepSource: o.keepSource.prefixes, Node: o.node})
	state := rules.NewState()
	state.Commit(rules.Diff(state, want))
	return state, nil
}

func readKernel(ctx context.Context) (*rules.State, error) {
	d, state, err := new(driverFlags).look(ctx)
	if err != nil {
		return nil, err
	}
	return state, d.Close()
}

// chances are where a connection may go: one place with affinity, else each target in proportion to its slots.
func (e *explanation) chances(placed rules.Placement, verdict rules.Verdict) {
	if placed.Mode == rules.Source && verdict.Target.IsValid() {
		e.Chances = []chance{{verdict.Target.String(), placed.Size, 100}}
		return
	}
	for _, share := range placed.Shares() {
		e.Chances = append(e.Chances, chance{share.Target.String(), share.Slots, 100 * float64(share.Slots) / float64(placed.Size)})
	}
	if placed.Mode == rules.Random {
		// The trace drew one slot so as to have something to follow; the kernel draws for each connection.
		for i, step := range e.Steps {
			if step.Chain == fmt.Sprintf("lb-%d", placed.Size) {
				e.Steps[i].What = fmt.Sprintf("numgen random mod %d: one of the slots below, drawn for each connection", placed.Size)
			}
		}
	}
}

// place is where the node stands that is asked about. This node is the one that has its addresses.
func (o *explainOptions) place(snapshot *cluster.Snapshot, here bool) cluster.Place {
	if o.node != "" || !here {
		return snapshot.Place(o.node)
	}
	mine, _ := agent.Addresses() // without them no node is this one
	first := ""
	for name, node := range snapshot.Nodes.All() {
		if len(mine) > 0 && slices.Equal(node.Addresses, mine) && (first == "" || name < first) {
			first = name
		}
	}
	return snapshot.Place(first)
}

// instances says which service it is, who may connect, which instances are preferred, and who of it is left out.
func (e *explanation) instances(snapshot *cluster.Snapshot, f cluster.Frontend, at cluster.Place) {
	for name, in := range snapshot.Services.All() {
		if !slices.Contains(in.Service.Frontends(), f) {
			continue
		}
		resolved := cluster.Resolve(in)
		if owner, lost := in.Lost[f]; lost {
			e.Notes = append(e.Notes, fmt.Sprintf("service %s claims it too, but %s is older", name, owner))
			continue
		}
		e.Service = name
		if slices.Contains(resolved.Frontends, f) {
			_, e.Locality = resolved.Near(f, at)
		}
		if in.Service.Guarded() {
			e.Sources = []string{}
			for _, p := range in.Service.SourcesOf(f.VIP) {
				e.Sources = append(e.Sources, p.String())
			}
		}
		e.panicking(resolved)
		for _, s := range resolved.Instances {
			if s.Takes() {
				continue
			}
			out := leftOut{Instance: s.Instance.ID, Status: string(s.Status), Reason: s.Reason, Output: in.OutputOf(s)}
			if !s.Since.IsZero() {
				out.Since = s.Since.UTC().Format("2006-01-02 15:04:05Z")
			}
			e.LeftOut = append(e.LeftOut, out)
		}
	}
}

// panicking tells of instances that are used although they fail: among the targets they look like any other.
func (e *explanation) panicking(r *cluster.Resolved) {
	var used []string
	reason := ""
	for _, s := range r.Instances {
		if s.Status == cluster.Panic {
			used, reason = append(used, s.Instance.ID), s.Reason
		}
	}
	if len(used) == 0 {
		return
	}
	e.Notes = append(e.Notes, fmt.Sprintf("panic: %s: %s", plain.Few(used), reason))
}

// printFlows lists a few connections and counts many.
func (e *explanation) printFlows(w io.Writer) {
	const few = 8
	if len(e.Flows) <= few {
		for _, flow := range e.Flows {
			fmt.Fprintf(w, "live: %s -> %s\n", flow.Client, flow.Target)
		}
		return
	}
	counts := map[netip.AddrPort]int{}
	for _, flow := range e.Flows {
		counts[flow.Target]++
	}
	for _, target := range slices.SortedFunc(maps.Keys(counts), netip.AddrPort.Compare) {
		fmt.Fprintf(w, "live: %d connections -> %s\n", counts[target], target)
	}
}

func (e *explanation) print(w io.Writer) {
	fmt.Fprintf(w, "%s -> %s", e.Client, e.Frontend)
	if e.Service != "" {
		fmt.Fprintf(w, ", service %s", e.Service)
	}
	fmt.Fprintf(w, "\nasked: %s\n", e.Basis)
	if e.Route != "" {
		fmt.Fprintf(w, "route: %s\n", e.Route)
	}
	if e.Sources != nil {
		fmt.Fprintf(w, "sources: %s\n", cmp.Or(strings.Join(e.Sources, " "), "nobody may connect"))
	}
	if e.Locality != "" {
		fmt.Fprintf(w, "locality: %s\n", e.Locality)
	}
	width := 12
	for _, step := range e.Steps {
		width = max(width, len(step.Chain))
	}
	for _, step := range e.Steps {
		fmt.Fprintf(w, "  %-*s %s\n", width, step.Chain, step.What)
	}
	fmt.Fprintf(w, "outcome: %s\n", e.Outcome)
	for _, c := range e.Chances {
		fmt.Fprintf(w, "  %5.1f %%  %s (slots: %d)\n", c.Chance, c.Target, c.Slots)
	}
	for _, l := range e.LeftOut {
		fmt.Fprintf(w, "left out: %s, %s: %s", l.Instance, l.Status, l.Reason)
		if l.Since != "" {
			fmt.Fprintf(w, ", since %s", l.Since)
		}
		if l.Output != "" {
			fmt.Fprintf(w, ", its check said: %s", l.Output)
		}
		fmt.Fprintln(w)
	}
	e.printFlows(w)
	for _, note := range e.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
}
