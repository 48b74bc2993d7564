package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process/shim"
)

// remainsTime is how long the end of what a dead shim left may take.
const remainsTime = 5 * time.Second

// Ensure lets the program run.
func (d *Driver) Ensure(ctx context.Context, spec launcher.Spec) error {
	order, err := d.order(spec)
	if err != nil {
		return err
	}
	d.reap()
	done, err := d.turns.Take(ctx, spec.ID)
	if err != nil {
		return err
	}
	defer done()
	i, err := d.look(spec.ID)
	switch {
	case errors.Is(err, errNone):
		return d.create(ctx, order)
	case err != nil:
		return fmt.Errorf("look at instance %s: %w", spec.ID, err)
	case !i.order.Spec.Equal(spec):
		return fmt.Errorf("instance %s runs by another specification: %w: stop it first", spec.ID, launcher.ErrDiffers)
	case i.alive && i.record.State == launcher.Running:
		return nil
	}
	return d.restart(ctx, i, order)
}

// order makes of a Spec what a shim is to do.
func (d *Driver) order(spec launcher.Spec) (shim.Order, error) {
	problems := spec.Validate()
	refuse := func(field, what, fix string) {
		problems = append(problems, cluster.Problem{Object: "instance " + plain.Line(spec.ID, 80), Field: field, What: what, Fix: fix})
	}
	if len(spec.Command) == 0 {
		refuse("command", "is empty", "write the path of a program")
	}
	if spec.Image != "" {
		refuse("image", "is not for programs of this host", "use driver hook")
	}
	if len(spec.Ports) > 0 && !spec.Host.IsValid() {
		refuse("host", "is not given", "write the address of this node that its ports are reached at")
	}
	o := shim.Order{Spec: spec, Parent: d.config.Group, Output: shim.Output{Bytes: d.config.OutputBytes, Files: d.config.OutputFiles}}
	if err := launcher.Refuse(problems); err != nil {
		return o, err
	}
	o.Program = cmp.Or(spec.Resolved.Program, spec.Command[0])
	o.WorkDir = cmp.Or(spec.Resolved.WorkDir, spec.WorkDir, "/")
	if d.config.Given != nil {
		o.Given = d.config.Given(spec.ID)
	}
	o.EnvFile = shim.EnvFileOf(d.config.EnvDir, spec.ID)
	name := spec.User
	if name == "" {
		name = d.config.User
	}
	account, problem := lookUp(name)
	if problem != nil {
		problem.Object = "instance " + spec.ID
		return o, launcher.Refuse([]cluster.Problem{*problem})
	}
	o.UID, o.GID, o.Switch, o.Login = account.uid, account.gid, account.change, account.login
	return o, nil
}

// create starts an instance for the first time. Nothing of it is left when that does not work; what cannot be ended stays known.
func (d *Driver) create(ctx context.Context, o shim.Order) error {
	id := o.Spec.ID
	made, dir := filepath.Join(d.config.Dir, begun(id)), filepath.Join(d.config.Dir, id)
	err := d.claim(o.Spec)
	if err == nil {
		err = os.Mkdir(made, 0o700)
	}
	if err == nil {
		err = shim.WriteOrder(made, o)
	}
	if err == nil {
		err = os.Rename(made, dir) // from here on there is an instance
	}
	if err == nil {
		err = d.start(ctx, instance{dir: dir, order: o})
	}
	if errors.Is(err, errLeft) {
		return err
	}
	if err != nil {
		d.ports.free(id)
		return errors.Join(err, discard(dir, made), remove(o.EnvFile))
	}
	return nil
}

// discard removes a directory under another name, so that a crash leaves no half of it under its own.
func discard(dir, aside string) error {
	if err := os.Rename(dir, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(aside)
}

// restart starts an instance again that has ended, or whose shim was killed, or that a crash left half made.
func (d *Driver) restart(ctx context.Context, i instance, o shim.Order) error {
	if i.alive { // it is ending
		if err := d.end(ctx, i, i.order.Spec.Patience()); err != nil {
			return err
		}
		var err error
		if i, err = d.look(i.order.Spec.ID); err != nil {
			return err
		}
	}
	if i.record.State != launcher.Exited {
		if err := shim.EndRemains(i.order, i.record, remainsTime); err != nil {
			return err
		}
	}
	if err := d.claim(o.Spec); err != nil {
		return err
	}
	if err := shim.WriteOrder(i.dir, o); err != nil { // the driver's own part of it may have changed
		return err
	}
	return d.start(ctx, instance{dir: i.dir, order: o})
}

func remove(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
