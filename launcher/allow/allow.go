// Package allow is the list by which the owner of a node says what a launcher may run there. Without the list, nothing.
//
//	drivers: [process]            # process, external, hook
//	users: [app, www-data]        # root only when it is named here
//	paths: [/opt/apps]            # programs and working directories below them, links followed
//	services: [shop, shop-admin]  # or ["*"]
//	nodes: {most: 4, cpu: 8}      # machines that driver hook may acquire
//
// Who could write the list could become root through the launcher, so the file and all directories above it have to
// belong to root, closed to the writing of others.
package allow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
)

// List is what is allowed. The zero value allows nothing.
type List struct {
	Drivers  []string `json:"drivers"`
	Users    []string `json:"users"`
	Paths    []string `json:"paths"`
	Services []string `json:"services"`
	Nodes    *Nodes   `json:"nodes"` // nil: none
}

// Nodes are machines that driver hook may acquire, and what they are like.
type Nodes struct {
	Most   int               `json:"most"` // at the same time
	CPU    float64           `json:"cpu"`  // processors that one has for instances; 0: enough for any
	Memory string            `json:"memory"`
	Labels map[string]string `json:"labels"` // that its agent is given
	Idle   string            `json:"idle"`   // one on which nothing runs for so long is given back
}

// everything stands for all services. Drivers, users and paths have no such word: each of them is one way to become root.
const everything = "*"

// Check says what of a Spec is not allowed for a driver. The Spec that it returns says where its paths lead: that was
// checked, and that is to be run.
func (l *List) Check(driver string, spec launcher.Spec) (launcher.Spec, []cluster.Problem) {
	var problems []cluster.Problem
	refuse := func(field, what, fix string) {
		problems = append(problems, cluster.Problem{Object: "instance " + plain.Line(spec.ID, 80), Field: field, What: what, Fix: fix})
	}
	if !slices.Contains(l.Drivers, driver) {
		refuse("driver", fmt.Sprintf("%q is not allowed on this node", plain.Line(driver, 80)), "add it to drivers in the launcher's list, or choose another node")
	}
	if !slices.Contains(l.Services, spec.Service) && !slices.Contains(l.Services, everything) {
		refuse("service", fmt.Sprintf("%q is not allowed on this node", plain.Line(spec.Service, 80)), "add it to services in the launcher's list, or choose another node")
	}
	if spec.Kind == cluster.KindNode && l.Nodes == nil {
		refuse("kind", "no machines may be acquired by this node", "write nodes into the launcher's list, or choose another node")
	}
	if len(spec.Command) == 0 {
		return spec, problems // nothing runs here, so nothing runs as anybody
	}
	switch {
	case spec.User == "":
		refuse("user", "is not given, and the launcher has no --user", "name one of the users in the launcher's list, or give the launcher one by --user")
	case !slices.Contains(l.Users, spec.User):
		refuse("user", fmt.Sprintf("%q is not allowed on this node", plain.Line(spec.User, 80)), "name one of the users in the launcher's list")
	}
	for _, p := range []struct {
		field, path string
		resolved    *string
	}{{"command[0]", spec.Command[0], &spec.Resolved.Program}, {"workDir", spec.WorkDir, &spec.Resolved.WorkDir}} {
		if p.path == "" {
			continue // the root directory, of which an instance sees what its user may see
		}
		resolved, why := l.resolve(p.path)
		switch {
		case why == missing:
			refuse(p.field, fmt.Sprintf("%q is not there", plain.Line(p.path, 200)), "install it on this node, or name another")
		case why != "":
			refuse(p.field, why, "put it below one of the paths in the launcher's list")
		}
		*p.resolved = resolved
	}
	return spec, problems
}

// missing is why a path of which nothing is there cannot be run: it may well lie below one that is allowed.
const missing = "it is not there"

// resolve follows all links of a path and says why what it leads to is not allowed, or "".
func (l *List) resolve(path string) (resolved, why string) {
	shown := plain.Line(path, 200)
	if !filepath.IsAbs(path) || slices.Contains(strings.Split(path, "/"), "..") {
		return "", fmt.Sprintf("%q is not an absolute path without ..", shown)
	}
	resolved, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", missing
	}
	if err != nil {
		return "", fmt.Sprintf("%q cannot be looked at: %v", shown, errors.Unwrap(err))
	}
	for _, prefix := range l.Paths {
		// The list may name a link: what counts is where it leads.
		if allowed, err := filepath.EvalSymlinks(prefix); err == nil && within(resolved, allowed) {
			return resolved, ""
		}
	}
	if resolved != path {
		return "", fmt.Sprintf("%q leads to %q, which is not allowed on this node", shown, plain.Line(resolved, 200))
	}
	return "", fmt.Sprintf("%q is not allowed on this node", shown)
}

func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
}

// Guard is a driver that starts only what the list allows. It stops and lists everything: what was allowed once has to
// be seen and ended. A program whose Spec names nobody runs as the user given here, who has to be on the list as any other;
// "": it is refused.
func (l *List) Guard(name, user string, driver launcher.Driver) launcher.Driver {
	return &guard{list: l, name: name, user: user, driver: driver, nodes: make(chan struct{}, 1)}
}

type guard struct {
	list   *List
	name   string
	user   string // of a program that names nobody
	driver launcher.Driver
	nodes  chan struct{} // held by whoever acquires one: they are counted
}

func (g *guard) Ensure(ctx context.Context, spec launcher.Spec) error {
	if len(spec.Command) > 0 {
		spec.User = cmp.Or(spec.User, g.user)
	}
	resolved, problems := g.list.Check(g.name, spec)
	if err := launcher.Refuse(problems); err != nil {
		return err
	}
	if spec.Kind != cluster.KindNode {
		return g.driver.Ensure(ctx, resolved)
	}
	select {
	case g.nodes <- struct{}{}:
		defer func() { <-g.nodes }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := g.count(ctx, spec.ID); err != nil {
		return err
	}
	return g.driver.Ensure(ctx, resolved)
}

// count refuses a machine where there are as many others as the list permits.
func (g *guard) count(ctx context.Context, id string) error {
	all, err := g.driver.List(ctx)
	if err != nil {
		return err
	}
	others := 0
	for _, s := range all {
		if s.Kind == cluster.KindNode && s.ID != id {
			others++
		}
	}
	if others < g.list.Nodes.Most {
		return nil
	}
	return launcher.Refuse([]cluster.Problem{{Object: "node " + plain.Line(id, 80), Field: "kind",
		What: fmt.Sprintf("%d machines are acquired, as many as are allowed", others), Fix: "raise nodes.most in the launcher's list"}})
}

func (g *guard) Stop(ctx context.Context, id string, grace time.Duration) error {
	return g.driver.Stop(ctx, id, grace)
}

func (g *guard) List(ctx context.Context) ([]launcher.Status, error) { return g.driver.List(ctx) }
