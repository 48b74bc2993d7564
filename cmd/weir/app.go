package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
)

// store is what commands need of etcd.
type store interface {
	controlcenter.Store
	Repairs(ctx context.Context) (map[string]cluster.Repairs, error)
	Gone(ctx context.Context) (map[string]cluster.Gone, error)
	Loadmons(ctx context.Context) (map[string]cluster.Loadmon, error)
	Events(ctx context.Context, service string) ([]cluster.Event, error)
	FollowEvents(ctx context.Context, service string, fn func([]cluster.Event)) error
	Secret(ctx context.Context) (string, error)
	Watch(ctx context.Context, o etcd.WatchOptions, deliver func(*cluster.Snapshot)) error
	Status() etcd.Status
	Candidates(ctx context.Context) ([]etcd.Candidacy, error)
	RBAC(nodes ...string) (string, error)
	Diagnose(ctx context.Context) (*etcd.Diagnosis, error)
	Access(ctx context.Context) etcd.Access
	Prefix() string
	Close() error
}

// app is what all commands share.
type app struct {
	in  io.Reader
	out io.Writer // data
	err io.Writer // talk

	etcd etcdFlags
	open func(context.Context, etcdFlags) (store, error) // tests hand in another
	now  func() time.Time

	started bool // a command's own work began: mistakes before that are mistakes of usage
}

func newApp(in io.Reader, out, err io.Writer) *app {
	return &app{in: in, out: &safeWriter{w: out}, err: &safeWriter{w: err}, open: openEtcd, now: time.Now}
}

func (a *app) execute(ctx context.Context, args []string) int {
	root := newRootCmd(a)
	root.SetArgs(subcommands(args))
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	a.completionCommand(root)
	if viaLink(args) && len(args) > 1 && args[1] == "completion" {
		root.Use = linkName // the script is for the name that the operator types
	}
	err := root.ExecuteContext(ctx)
	if err != nil && !a.started {
		err = &usageError{err}
	}
	if err != nil && err != errChanges && err != errFound {
		a.say("error: %v", err)
	}
	return exitCode(err)
}

// say talks to the operator.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }

// with opens the store for one command.
func (a *app) with(ctx context.Context, do func(store) error) error {
	s, err := a.open(ctx, a.etcd)
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

// snapshot reads the present state and says what is wrong with it as a whole.
func (a *app) snapshot(ctx context.Context, s store) (*cluster.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, a.etcd.timeout)
	defer cancel()
	snapshot, err := s.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range snapshot.Problems {
		a.say("warning: %v", p.Error())
	}
	if snapshot.Config != nil && snapshot.Config.Paused {
		a.say("warning: automatic decisions are paused: see weir resume")
	}
	if h := snapshot.Held; h != nil {
		a.say("warning: the deletion of %d services is held back: %s: see weir guard", h.Deleted, h.Reason)
	}
	return snapshot, nil
}

// operations reads what is said of launched instances.
func (a *app) operations(ctx context.Context, s store) (*cluster.Operations, error) {
	ctx, cancel := context.WithTimeout(ctx, a.etcd.timeout)
	defer cancel()
	return s.Operations(ctx)
}

// commit writes one change, within the time that a request may take.
func (a *app) commit(ctx context.Context, s store, change cluster.Change) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, a.etcd.timeout)
	defer cancel()
	return s.Commit(ctx, change)
}

// group is a command that only holds others.
func (a *app) group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q for %q: see %s --help", args[0], c.CommandPath(), c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			c.SetOut(a.err)
			_ = c.Help()
			return &usageError{fmt.Errorf("name one of the commands above")}
		},
	}
	c.AddCommand(commands...)
	return c
}
