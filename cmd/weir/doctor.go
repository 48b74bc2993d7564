package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/doctor"
)

// doctorOptions are what both doctors have.
type doctorOptions struct {
	*app
	check   checkFlag
	verbose bool
	output  outputFlag
}

func (o *doctorOptions) register(c *cobra.Command) {
	flags := c.Flags()
	flags.Var(&o.check, "check", "exit with 7 when something is as bad as this: warn or fail")
	flags.Lookup("check").NoOptDefVal = doctor.Warn.String()
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "also what is fine")
	o.output.register(flags, "text", "text", "json", "yaml")
}

func newDoctorCmd(a *app) *cobra.Command {
	o := &doctorOptions{app: a}
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps the cluster from working, or would one day, and say how to mend it",
		Long: `Look at etcd (members, version, room, certificates, who may do what), at what is published, and at what the nodes told.
Nothing is changed. Runs wherever etcd can be reached; as etcd's root it also sees what other users may do.
On a node, "weir agent doctor" looks at the node.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.with(c.Context(), func(s store) error { return runDoctor(c.Context(), o, s) })
		},
	}
	o.register(c)
	return c
}

func runDoctor(ctx context.Context, o *doctorOptions, s store) error {
	limited, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	found, err := s.Diagnose(limited)
	if found == nil {
		return err
	}
	c := &doctor.Cluster{Prefix: s.Prefix(), Etcd: found, Now: o.now()}
	if err != nil { // nobody answers: the rest would only say so again
		printFindings(o.out, doctor.CheckEndpoints(c), o.verbose)
		return adviseEtcd(err)
	}
	c.Snapshot = doctor.Learned(s.Snapshot(limited))
	fleet, err := o.complaining(ctx, s)
	c.Fleet = doctor.Learned(fleet, err)
	c.Monitors = doctor.Known(o.askMonitors(ctx, s, fleet))
	return o.tell(doctor.CheckCluster(c))
}

// askMonitors asks the load monitors of the nodes that are alive. Who may not read their token, or where nobody has made one
// yet, nobody is asked.
func (o *doctorOptions) askMonitors(ctx context.Context, s store, fleet controlcenter.Fleet) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	snapshot, err := s.Snapshot(ctx)
	if err != nil {
		return nil // told by other checks
	}
	if token, err := s.Secret(ctx); err != nil || token == "" {
		return nil
	}
	monitors := o.etcd.monitors(s.Secret)
	defer monitors.Close()
	var mu sync.Mutex
	answers := map[string]error{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for node := range fleet.Alive {
		n, known := snapshot.Nodes.Get(node)
		if !known {
			continue
		}
		g.Go(func() error {
			_, _, err := monitors.Loads(ctx, node, n)
			mu.Lock()
			defer mu.Unlock()
			answers[node] = err
			return nil
		})
	}
	_ = g.Wait() // none of them fails
	return answers
}

// checkFlag is --check, --check=warn or --check=fail.
type checkFlag struct{ from doctor.Severity }

func (f *checkFlag) String() string {
	if f.from == doctor.OK {
		return ""
	}
	return f.from.String()
}

func (f *checkFlag) Set(s string) error {
	for _, severity := range []doctor.Severity{doctor.Warn, doctor.Fail} {
		if s == severity.String() {
			f.from = severity
			return nil
		}
	}
	return fmt.Errorf("use warn or fail")
}

// Type makes it a flag.
func (f *checkFlag) Type() string { return "severity" }

// report is what -o json prints.
type report struct {
	Worst    doctor.Severity  `json:"worst"`
	Findings []doctor.Finding `json:"findings"` // what is fine, too
}

// tell prints the findings, and answers by the exit code if that is asked for.
func (o *doctorOptions) tell(findings []doctor.Finding) error {
	r := report{doctor.Worst(findings), findings}
	if o.output.format == "text" {
		printFindings(o.out, findings, o.verbose)
		o.say("%s", summary(findings))
	} else if err := printData(o.out, o.output.format, r); err != nil {
		return err
	}
	if o.check.from != doctor.OK && r.Worst >= o.check.from {
		return errFound
	}
	return nil
}

func printFindings(w io.Writer, findings []doctor.Finding, verbose bool) {
	for _, f := range findings {
		if f.Severity == doctor.OK && !verbose {
			continue
		}
		fmt.Fprintf(w, "%-4s  %s: %s\n", f.Severity, f.Check, cell(f.Seen))
		for _, part := range [][2]string{{"why", f.Why}, {"fix", f.Fix}} {
			if part[1] != "" {
				fmt.Fprintf(w, "      %s: %s\n", part[0], cell(part[1]))
			}
		}
	}
}

// summary counts by severity, the worst first.
func summary(findings []doctor.Finding) string {
	var parts []string
	for _, severity := range []doctor.Severity{doctor.Fail, doctor.Warn, doctor.Note, doctor.OK} {
		n := len(slices.DeleteFunc(slices.Clone(findings), func(f doctor.Finding) bool { return f.Severity != severity }))
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, severity))
		}
	}
	return strings.Join(parts, ", ")
}
