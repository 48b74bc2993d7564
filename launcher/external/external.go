// Package external is the driver for instances that somebody else runs: their address is given, and all that can be done is
// to look whether they are there.
package external

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
)

const (
	defaultTimeout = time.Second
	parallel       = 32 // looks at the same time
)

// Driver looks at instances. It remembers them only while it is open: the caller ensures them again after a restart. A port
// of another protocol than TCP cannot be looked at, as nothing would answer; it is taken to be there.
type Driver struct {
	timeout time.Duration

	mu    sync.Mutex
	specs map[string]known
}

type known struct {
	spec  launcher.Spec
	since time.Time
}

var _ launcher.Driver = (*Driver)(nil)

// New makes a driver that waits for an answer for a time; 0: one second.
func New(timeout time.Duration) *Driver {
	if timeout == 0 {
		timeout = defaultTimeout
	}
	return &Driver{timeout: timeout, specs: map[string]known{}}
}

// Ensure says whether the instance is there: launcher.ErrAbsent when it is not, and then it is listed as absent.
func (d *Driver) Ensure(ctx context.Context, spec launcher.Spec) error {
	if err := launcher.Refuse(validate(spec)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.mu.Lock()
	k, there := d.specs[spec.ID]
	if there && !k.spec.Equal(spec) {
		d.mu.Unlock()
		return fmt.Errorf("instance %s is looked for by another specification: %w: stop it first", spec.ID, launcher.ErrDiffers)
	}
	if !there {
		d.specs[spec.ID] = known{spec, time.Now()}
	}
	d.mu.Unlock()
	return d.look(ctx, spec)
}

// validate also refuses what a driver cannot do that starts nothing.
func validate(spec launcher.Spec) []cluster.Problem {
	problems := spec.Validate()
	refuse := func(field, what, fix string) {
		problems = append(problems, cluster.Problem{Object: "instance " + plain.Line(spec.ID, 80), Field: field, What: what, Fix: fix})
	}
	if len(spec.Command) > 0 {
		refuse("command", "is given, but an external instance is never started", "leave it out, or choose another driver")
	}
	if !spec.Host.IsValid() || len(spec.Ports) == 0 {
		refuse("host", "an external instance is known by its address and ports alone", "write both")
	}
	return problems
}

// look connects to every TCP port.
func (d *Driver) look(ctx context.Context, spec launcher.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	for _, p := range spec.Ports {
		if p.Protocol != 0 && p.Protocol != cluster.TCP {
			continue
		}
		address := netip.AddrPortFrom(spec.Host, p.Port).String()
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("instance %s at %s: %w: %w", spec.ID, address, launcher.ErrAbsent, err)
		}
		conn.Close()
	}
	return nil
}

// Stop stops to look. The instance itself is not ours to end.
func (d *Driver) Stop(_ context.Context, id string, _ time.Duration) error {
	if err := launcher.RefuseID(id); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.specs, id)
	return nil
}

// List looks at all instances now.
func (d *Driver) List(ctx context.Context) ([]launcher.Status, error) {
	d.mu.Lock()
	specs := maps.Clone(d.specs)
	d.mu.Unlock()
	out := make([]launcher.Status, 0, len(specs))
	for _, id := range slices.Sorted(maps.Keys(specs)) {
		s := specs[id].spec
		out = append(out, launcher.Status{ID: id, Service: s.Service, Host: s.Host, State: launcher.Running, Started: specs[id].since})
	}
	var wg sync.WaitGroup
	turn := make(chan struct{}, parallel)
	for i := range out {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			if err := d.look(ctx, specs[out[i].ID].spec); errors.Is(err, launcher.ErrAbsent) {
				out[i].State = launcher.Absent
				out[i].Problems = []cluster.Problem{{Object: "instance " + out[i].ID, What: plain.Line(err.Error(), 300), Fix: "start it where it belongs"}}
			}
		})
	}
	wg.Wait()
	return out, ctx.Err()
}
