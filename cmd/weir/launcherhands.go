package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/allow"
	"github.com/weir-lb/weir/launcher/external"
	"github.com/weir-lb/weir/launcher/hook"
	"github.com/weir-lb/weir/launcher/process"
	"github.com/weir-lb/weir/launcher/words"
)

// hands are the drivers that the list names.
type hands struct {
	drivers map[string]launcher.Driver
	process *process.Driver // among them; nil: not allowed
	tokens  *words.Tokens   // of its instances; nil: nobody listens to them
}

func (h *hands) close() {
	if h.process != nil {
		_ = h.process.Close()
	}
}

func (o *launcherOptions) hands(list *allow.List) (*hands, error) {
	h := &hands{drivers: map[string]launcher.Driver{}}
	for _, name := range list.Drivers {
		d, err := o.driver(name, h)
		if err != nil {
			h.close()
			return nil, err
		}
		h.drivers[name] = list.Guard(name, o.user, d)
	}
	return h, nil
}

func (o *launcherOptions) driver(name string, h *hands) (launcher.Driver, error) {
	switch name {
	case cluster.DriverProcess:
		return o.openProcess(h)
	case cluster.DriverHook:
		return o.openHook()
	case cluster.DriverExternal:
		return external.New(0), nil
	}
	return nil, fmt.Errorf("%s allows driver %q, with which nothing is launched: remove it", o.list, name)
}

// openProcess opens what runs programs here. The state directory is made by it, so that it can be trusted from then on.
func (o *launcherOptions) openProcess(h *hands) (launcher.Driver, error) {
	c := process.Config{Dir: o.stateDir, Group: o.cgroup, User: o.user}
	var given func(string) []string
	if o.doors.reports != "" {
		c.Given = func(id string) []string { return given(id) }
	}
	d, err := process.Open(c)
	if err != nil {
		return nil, err
	}
	h.process = d
	if h.tokens, err = o.doors.tokens(o.stateDir); err != nil {
		return nil, err
	}
	given, err = o.doors.given(h.tokens)
	return d, err
}

// openHook opens what acquires and releases instances elsewhere: a program, or a web service. What it notes lies beside the
// instances of driver process, which takes no name with a dot in front for one.
func (o *launcherOptions) openHook() (*hook.Driver, error) {
	c := hook.Config{Dir: filepath.Join(o.stateDir, ".hook"), Owner: o.node, Timeout: o.hookTimeout}
	switch {
	case o.hook == "":
		return nil, &usageError{fmt.Errorf("%s allows driver hook: give --hook, the program or URL that acquires and releases instances", o.list)}
	case strings.Contains(o.hook, "://"):
		c.URL = o.hook
	default:
		c.Program = []string{o.hook}
	}
	if o.hookToken != "" {
		token, err := os.ReadFile(o.hookToken)
		if err != nil {
			return nil, fmt.Errorf("read the token of the hook: %w", err)
		}
		c.Token = strings.TrimSpace(string(token))
	}
	return hook.Open(c)
}
