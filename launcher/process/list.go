package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process/shim"
)

// List tells of all instances of the directory.
func (d *Driver) List(ctx context.Context) ([]launcher.Status, error) {
	d.reap()
	entries, err := os.ReadDir(d.config.Dir)
	if err != nil {
		return nil, err
	}
	var out []launcher.Status
	var errs []error
	for _, e := range entries { // in the order of their names
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
		if e.Name() == "lock" || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		i, err := d.look(e.Name())
		if errors.Is(err, errNone) {
			continue // it was stopped meanwhile
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("look at instance %s: %w", e.Name(), err))
			continue
		}
		if i.alive && i.record.Starts == 0 {
			continue // it is being started
		}
		out = append(out, i.status())
	}
	return out, errors.Join(errs...)
}

// status says what is to be said of it.
func (i instance) status() launcher.Status {
	r, spec := i.record, i.order.Spec
	s := launcher.Status{
		ID: spec.ID, Service: spec.Service, Host: spec.Host, State: r.State,
		Started: r.Started, Starts: r.Starts, Exits: r.Exits, Output: r.Output, Problems: r.Problems,
	}
	complain := func(field, what, fix string) {
		s.Problems = append(s.Problems, cluster.Problem{Object: "instance " + spec.ID, Field: field, What: what, Fix: fix})
	}
	starting := r.State == shim.Starting // or its shim was killed
	never := r.Starts == 0 && !starting
	ended := r.State == launcher.Exited || never || starting && i.alive
	if starting {
		s.State = launcher.Exited
	}
	if !ended {
		s.PID, s.Output = r.Instance.PID, lastLines(i.dir)
	}
	if !ended && !i.alive {
		s.State = launcher.Exited
		complain("", "its shim was killed, so it is not known how it ended", "ensure it again: what is left of it is ended first")
		if !r.Instance.Alive() || r.Boot != shim.BootID() {
			s.PID = 0
		}
	}
	if never {
		s.State = launcher.Exited
		complain("", "it was never started: the launcher ended before", "ensure it again")
	}
	short := !ended && r.Group.OOMKills() > 0
	if n := len(r.Exits); ended && n > 0 {
		short = r.Exits[n-1].OutOfMemory
	}
	if short {
		complain("resources.memory", fmt.Sprintf("it ran out of memory: the kernel killed a process of it at its limit of %d bytes", spec.Resources.Memory), "raise the limit, or let it use less")
	}
	return s
}

// lastLines are the end of the output of an instance that runs.
func lastLines(dir string) []string {
	lines, err := shim.Tail(dir)
	if err != nil {
		return nil // it has written nothing yet, or the disk is full
	}
	return lines
}
