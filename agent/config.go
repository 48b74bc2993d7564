package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// Source delivers snapshots of the cluster.
type Source interface {
	// Watch calls deliver with each newer snapshot, until the context ends; then it returns nil. What the store has lost
	// since last, if that is not nil, is judged as if it had been watched all the time.
	Watch(ctx context.Context, last *cluster.Snapshot, deliver func(*cluster.Snapshot)) error
	// Connected is nil while the store answers, else the reason why not: ErrNotYet, wrapped, before the first answer.
	Connected() error
}

// Reporter takes what the node has to say.
type Reporter interface {
	Applied(ctx context.Context, node string, a cluster.Applied) error
	Repaired(ctx context.Context, node string, r cluster.Repairs) error
	// Wake says that somebody connects to a service that sleeps.
	Wake(ctx context.Context, node, service string) error
}

// Config of an Agent.
type Config struct {
	Node   string
	Driver rules.Driver
	Source Source
	Report Reporter

	StateDir   string         // for the snapshot file; "": none is kept
	KeepSource []netip.Prefix // sources that are not masqueraded, since their replies pass this node
	NodeAddrs  []netip.Addr   // source addresses of local clients, at most one a family; none: found
	Budget     int            // slots; 0: rules.DefaultBudget
	KillFlows  bool           // end established TCP to instances that are dead
	Ping       bool           // VIPs of services answer ping

	NoTables bool // the driver finds the slot of a client's hash by itself: see rules.Options

	// Settled is called once, after the first pass that went well; nil: nothing is. Host says what else is wrong with the
	// node; it is asked at the start and with each full check.
	Settled func(context.Context) error
	Host    func(context.Context) []cluster.Problem

	// Beside is what other parts of this process complain of, sorted; nil: there are none. It is asked every few seconds, and
	// must not take long.
	Beside func() []cluster.Problem

	// Knocks tell of connections to services that sleep; nil: nobody would hear of them, so such services refuse.
	Knocks Knocks

	Deadline    time.Duration // of one reading or one writing of rules, then the node is not ready. Default 10 s
	FullCheck   time.Duration // between two readings of the whole table; more: less work, later repair. Default 5 min
	ReportEvery time.Duration // between two reports without need; more: less writes to etcd. Default 30 s, +-20 %
	ColdStart   time.Duration // how long to wait for etcd before the snapshot file is used. Default 500 ms; less where it is refused

	AcceptRollback bool // believe the store at the start, also where it is older than the snapshot file or lacks much of it

	Logger  *slog.Logger
	Metrics *Metrics
}

func (c Config) withDefaults() (Config, error) {
	if c.Node == "" || c.Driver == nil || c.Source == nil || c.Report == nil {
		return c, errors.New("an agent needs a node name, a driver, a source and a reporter")
	}
	if c.Deadline <= 0 {
		c.Deadline = 10 * time.Second
	}
	if c.FullCheck <= 0 {
		c.FullCheck = 5 * time.Minute
	}
	if c.ReportEvery <= 0 {
		c.ReportEvery = 30 * time.Second
	}
	if c.ColdStart <= 0 {
		c.ColdStart = 500 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("node", c.Node)
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c, nil
}
