package keep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
)

// Store is what a Keeper needs of etcd.
type Store interface {
	// WatchAssigned tells fn what the node is to keep, by instance id, until the context ends.
	WatchAssigned(ctx context.Context, node string, fn func(map[string]cluster.Assignment, []cluster.Problem)) error
	// Launched tells how an instance is; nil forgets it.
	Launched(ctx context.Context, node, id string, l *cluster.Launched) error
	// Introduce tells how an instance is of which nothing was told so far. What was told is left as it is.
	Introduce(ctx context.Context, node, id string, l cluster.Launched) error
	// Register shows an instance to every node; nil takes it back.
	Register(ctx context.Context, node, service, id string, i *cluster.Instance) error
	// Launching shows what the node can launch, until the context ends.
	Launching(ctx context.Context, node string, l cluster.Launcher) error
}

// Probe asks an instance once; nil: it is well. Without a check it is enough that the address accepts.
type Probe func(ctx context.Context, check *cluster.Check, address netip.AddrPort) error

// Config is what a Keeper needs.
type Config struct {
	Node    string
	Self    cluster.Launcher           // what the node can launch
	Drivers map[string]launcher.Driver // by the name in the service file
	Store   Store
	Probe   Probe
	Look    time.Duration            // how often drivers are asked; 0: 500 ms. Longer: an instance that ended is started later
	Looks   map[string]time.Duration // for drivers of which asking is dear, by name
	Starts  int                      // how many instances each driver may start at the same time; 0: 8. More: a crowd is started sooner, and the host has less left meanwhile
	Logger  *slog.Logger             // nil: none
	Metrics *Metrics                 // nil: none
}

func (c Config) complete() (Config, error) {
	var errs []error
	if why := cluster.ValidName(c.Node); why != "" {
		errs = append(errs, fmt.Errorf("node: %s", why))
	}
	if len(c.Drivers) == 0 {
		errs = append(errs, errors.New("no driver: nothing could be launched"))
	}
	if c.Store == nil || c.Probe == nil {
		errs = append(errs, errors.New("a store and a probe are needed"))
	}
	if c.Look <= 0 {
		c.Look = 500 * time.Millisecond
	}
	if c.Starts <= 0 {
		c.Starts = 8
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return c, errors.Join(errs...)
}

// look is how often a driver is asked.
func (c Config) look(driver string) time.Duration { return cmp.Or(c.Looks[driver], c.Look) }
