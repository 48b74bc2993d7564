package hook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/internal/turns"
)

// Config is what a driver is opened with: either a program or a URL.
type Config struct {
	Dir   string // of the notes; made when it is not there
	Owner string // whose instances these are: the name of this node

	Program []string    // an absolute path and arguments
	Env     []string    // of the program, as NAME=VALUE; it inherits nothing
	URL     string      // https, or http at a loopback address
	Token   string      // that a web service wants as a bearer; empty: none
	TLS     *tls.Config // of the web service; nil: what the system trusts

	Timeout  time.Duration // of one call. 0: 30s
	Settle   time.Duration // in which list has to agree with an acquire or release. 0: 10s
	Parallel int           // calls at the same time. 0: 8
}

// Driver asks a hook for instances.
type Driver struct {
	config Config
	caller caller
	turns  *turns.Turns
	places chan struct{}
}

var _ launcher.Driver = (*Driver)(nil)

// Open opens a driver over its notes.
func Open(c Config) (*Driver, error) {
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Settle == 0 {
		c.Settle = 10 * time.Second
	}
	if c.Parallel == 0 {
		c.Parallel = 8
	}
	d := &Driver{config: c, turns: turns.New(), places: make(chan struct{}, c.Parallel)}
	switch {
	case (len(c.Program) > 0) == (c.URL != ""):
		return nil, errors.New("open the hook: name either a program or a URL")
	case c.URL != "":
		if err := checkURL(c.URL); err != nil {
			return nil, err
		}
		d.caller = newWebhook(c)
	case !filepath.IsAbs(c.Program[0]):
		return nil, fmt.Errorf("open the hook: %q is not an absolute path", plain.Line(c.Program[0], 100))
	default:
		d.caller = program{c.Program, c.Env}
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the hook: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(c.Dir, &st); err != nil {
		return nil, fmt.Errorf("open the hook: %s: %w", c.Dir, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return nil, fmt.Errorf("open the hook: %s belongs to user %d with mode %#o: %w: want a directory of user %d and 0700",
			c.Dir, st.Uid, st.Mode&0o777, launcher.ErrUnsafe, os.Geteuid())
	}
	return d, nil
}

// Ensure has the instance acquired.
func (d *Driver) Ensure(ctx context.Context, spec launcher.Spec) error {
	if err := launcher.Refuse(spec.Validate()); err != nil {
		return err
	}
	done, err := d.turns.Take(ctx, spec.ID)
	if err != nil {
		return err
	}
	defer done()
	n, err := d.read(spec.ID)
	if err != nil {
		return err
	}
	if n != nil && n.Phase == releasing { // an earlier wish has not come to its end
		if err := d.release(ctx, n, n.Spec.Patience()); err != nil {
			return err
		}
		n = nil
	}
	if n != nil && !n.Spec.Equal(spec) {
		return fmt.Errorf("instance %s is held by another specification: %w: stop it first", spec.ID, launcher.ErrDiffers)
	}
	there, err := d.find(ctx, spec.ID)
	switch {
	case err != nil:
		return err
	case n == nil && there != nil: // our notes were lost
		return d.adopt(spec, *there)
	case n == nil:
		n = &note{Spec: spec, Key: newKey()}
	case n.Phase == holding && there != nil:
		return nil
	case n.Phase == holding: // it ended; what is acquired now is another one
		n.Exits = append(n.Exits, launcher.Exit{At: time.Now().UTC(), Code: -1})
		n.Exits = n.Exits[max(0, len(n.Exits)-keptExits):]
		n.Key = newKey()
	}
	return d.acquire(ctx, n)
}

func (d *Driver) adopt(spec launcher.Spec, e entry) error {
	if e.Kind != spec.Kind {
		return fmt.Errorf("%s is held as %s: %w: stop it first", spec.ID, named(e.Kind), launcher.ErrDiffers)
	}
	if e.Service != spec.Service {
		return fmt.Errorf("instance %s is held for service %s: %w: stop it first", spec.ID, plain.Line(e.Service, 80), launcher.ErrDiffers)
	}
	return d.write(&note{Spec: spec, Key: e.Key, Phase: holding, Host: e.Host, Started: time.Now().UTC(), Starts: 1})
}

// acquire asks for it with the key of the note, and takes it back when that does not work.
func (d *Driver) acquire(ctx context.Context, n *note) error {
	n.Phase, n.Starts, n.Started = acquiring, n.Starts+1, time.Now().UTC()
	if err := d.write(n); err != nil {
		return err
	}
	var a acquired
	err := d.ask(ctx, acquire, request{Key: n.Key, Spec: &n.Spec}, &a)
	if err == nil {
		err = a.check(n.Spec)
	}
	if err == nil {
		err = d.settle(ctx, n.Spec.ID, func(e *entry) error {
			switch {
			case e == nil:
				return fmt.Errorf("hook acquire: it says that %s is there, and list does not have it: %w", n.Spec.ID, launcher.ErrUntrue)
			case e.Kind != n.Spec.Kind:
				return fmt.Errorf("hook acquire: asked for %s %s, list has %s: %w", named(n.Spec.Kind), n.Spec.ID, named(e.Kind), launcher.ErrUntrue)
			case e.Host != a.Host:
				return fmt.Errorf("hook acquire: it says that %s is at %s, and list says %s: %w", n.Spec.ID, a.Host, e.Host, launcher.ErrUntrue)
			}
			return nil
		})
	}
	if err != nil {
		n.Why = plain.Line(err.Error(), 500)
		// The caller's time may be over, and still nothing is to stay behind.
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.config.Timeout+d.config.Settle)
		defer cancel()
		return errors.Join(err, d.release(undo, n, 0))
	}
	n.Phase, n.Host = holding, a.Host
	return d.write(n)
}

func named(k cluster.Kind) string {
	if k == cluster.KindNode {
		return "a node"
	}
	return "an instance"
}

// check says why an answer cannot be one to what was asked. Where the instance is, is the hook's to say: the Spec names the
// launcher's own node.
func (a acquired) check(spec launcher.Spec) error {
	switch {
	case a.ID != spec.ID:
		return fmt.Errorf("hook acquire: asked for %s, it answered with %q: %w", spec.ID, plain.Line(a.ID, 80), launcher.ErrUntrue)
	case !usable(a.Host):
		return fmt.Errorf("hook acquire: nobody can be reached at %q: %w", a.Host, launcher.ErrUntrue)
	}
	return nil
}

// usable is what any host can have; whether it is inside the cluster's networks is the caller's to say.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.Is4In6() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// Stop has the instance released.
func (d *Driver) Stop(ctx context.Context, id string, grace time.Duration) error {
	if err := launcher.RefuseID(id); err != nil {
		return err
	}
	done, err := d.turns.Take(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	n, err := d.read(id)
	if err != nil {
		return err
	}
	if n == nil {
		e, err := d.find(ctx, id)
		if err != nil || e == nil {
			return err
		}
		n = &note{Spec: launcher.Spec{Kind: e.Kind, ID: id, Service: e.Service}, Key: e.Key, Host: e.Host}
	}
	n.Why = ""
	return d.release(ctx, n, grace)
}

// release asks until list agrees that it is gone. Its note stays until then.
func (d *Driver) release(ctx context.Context, n *note, grace time.Duration) error {
	n.Phase = releasing
	if err := d.write(n); err != nil {
		return err
	}
	var nothing struct{}
	said := d.ask(ctx, release, request{Key: n.Key, ID: n.Spec.ID, Grace: cluster.Duration(grace)}, &nothing)
	if said != nil && ctx.Err() != nil {
		return said
	}
	err := d.settle(ctx, n.Spec.ID, func(e *entry) error {
		switch {
		case e == nil:
			return nil // then it does not matter what was said
		case said != nil:
			return said
		}
		return fmt.Errorf("hook release: it says that %s is gone, and list still has it: %w", n.Spec.ID, launcher.ErrUntrue)
	})
	if err != nil {
		return err
	}
	return d.forget(n.Spec.ID)
}
