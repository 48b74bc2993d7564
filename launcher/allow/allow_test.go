package allow_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/allow"
)

// tree is /opt with programs, and things outside of it.
func tree(t *testing.T) string {
	root, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	for _, dir := range []string{"opt/apps/bin", "opt/apps-evil", "outside"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	for _, file := range []string{"opt/apps/bin/server", "opt/apps-evil/server", "outside/server"} {
		require.NoError(t, os.WriteFile(filepath.Join(root, file), nil, 0o755))
	}
	for link, to := range map[string]string{
		"opt/apps/inside": "bin/server", "opt/apps/escape": "../../outside/server", "opt/apps/dir": root + "/outside", "opt/link": "apps",
		"opt/apps/round": "round", "opt/apps/gone": "nowhere",
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(root, link)))
	}
	return root
}

func TestCheck(t *testing.T) {
	t.Parallel()
	root := tree(t)
	list := &allow.List{Drivers: []string{"process", "external"}, Users: []string{"app"}, Paths: []string{root + "/opt/link"}, Services: []string{"shop"}}
	apps := root + "/opt/apps"
	good := launcher.Spec{ID: "a", Service: "shop", User: "app", Command: []string{apps + "/bin/server", "--flag"}, WorkDir: apps}
	for name, test := range map[string]struct {
		change func(*launcher.Spec)
		driver string
		want   string // "field: part of what"; "": allowed
	}{
		"as listed":                     {},
		"another driver":                {driver: "hook", want: `driver: "hook" is not allowed`},
		"another service":               {change: func(s *launcher.Spec) { s.Service = "shop2" }, want: `service: "shop2" is not allowed`},
		"another user":                  {change: func(s *launcher.Spec) { s.User = "root" }, want: `user: "root" is not allowed`},
		"root by its number":            {change: func(s *launcher.Spec) { s.User = "0" }, want: `user: "0" is not allowed`},
		"no user":                       {change: func(s *launcher.Spec) { s.User = "" }, want: "user: is not given, and the launcher has no --user"},
		"outside":                       {change: func(s *launcher.Spec) { s.Command[0] = root + "/outside/server" }, want: "command[0]: is not allowed"},
		"a name that begins alike":      {change: func(s *launcher.Spec) { s.Command[0] = root + "/opt/apps-evil/server" }, want: "command[0]: is not allowed"},
		"a link that stays":             {change: func(s *launcher.Spec) { s.Command[0] = apps + "/inside" }},
		"the listed link itself":        {change: func(s *launcher.Spec) { s.Command[0] = root + "/opt/link/bin/server" }},
		"a link that leads out":         {change: func(s *launcher.Spec) { s.Command[0] = apps + "/escape" }, want: "command[0]: leads to"},
		"below a link that leads out":   {change: func(s *launcher.Spec) { s.Command[0] = apps + "/dir/server" }, want: "command[0]: leads to"},
		"a link to itself":              {change: func(s *launcher.Spec) { s.Command[0] = apps + "/round" }, want: "command[0]: cannot be looked at"},
		"a link to nothing":             {change: func(s *launcher.Spec) { s.Command[0] = apps + "/gone" }, want: "command[0]: is not there"},
		"not there":                     {change: func(s *launcher.Spec) { s.Command[0] = apps + "/none" }, want: "command[0]: is not there"},
		"..":                            {change: func(s *launcher.Spec) { s.Command[0] = apps + "/../../outside/server" }, want: "command[0]: absolute path without .."},
		".. that would stay":            {change: func(s *launcher.Spec) { s.Command[0] = apps + "/bin/../bin/server" }, want: "command[0]: absolute path without .."},
		"relative":                      {change: func(s *launcher.Spec) { s.Command[0] = "server" }, want: "command[0]: absolute path without .."},
		"a working directory elsewhere": {change: func(s *launcher.Spec) { s.WorkDir = root + "/outside" }, want: "workDir: is not allowed"},
		"a working directory by a link": {change: func(s *launcher.Spec) { s.WorkDir = apps + "/dir" }, want: "workDir: leads to"},
		"no working directory":          {change: func(s *launcher.Spec) { s.WorkDir = "" }},
		"nothing to run, so nobody":     {change: func(s *launcher.Spec) { s.Command, s.User, s.WorkDir = nil, "", "" }, driver: "external"},
	} {
		spec := good
		spec.Command = append([]string(nil), good.Command...)
		if test.change != nil {
			test.change(&spec)
		}
		if test.driver == "" {
			test.driver = "process"
		}
		resolved, problems := list.Check(test.driver, spec)
		if test.want == "" {
			require.Empty(t, problems, name)
			if len(spec.Command) > 0 {
				require.Equal(t, apps+"/bin/server", resolved.Resolved.Program, name)
				require.True(t, resolved.Equal(spec), "a link that is set anew makes no other instance of it")
			}
			continue
		}
		require.Len(t, problems, 1, "%s: %v", name, problems)
		field, what, _ := strings.Cut(test.want, ": ")
		require.Equal(t, field, problems[0].Field, name)
		require.Contains(t, problems[0].What, what, name)
		require.NotEmpty(t, problems[0].Fix)
	}
	_, problems := new(allow.List).Check("process", good)
	require.Len(t, problems, 5, "nothing is allowed by an empty list: %v", problems)
	list.Services = []string{"*"}
	good.Service = "any"
	_, problems = list.Check("process", good)
	require.Empty(t, problems)
}

// recorder is a driver that notes what it is asked for.
type recorder struct {
	asked []string
	users []string // of those to ensure
	there []launcher.Status
}

func (r *recorder) Ensure(_ context.Context, spec launcher.Spec) error {
	r.asked, r.users = append(r.asked, "ensure "+spec.Resolved.Program), append(r.users, spec.User)
	return nil
}

func (r *recorder) Stop(_ context.Context, id string, _ time.Duration) error {
	r.asked = append(r.asked, "stop "+id)
	return nil
}

func (r *recorder) List(context.Context) ([]launcher.Status, error) {
	r.asked = append(r.asked, "list")
	return r.there, nil
}

func TestGuard(t *testing.T) {
	t.Parallel()
	root := tree(t)
	list := &allow.List{Drivers: []string{"process"}, Users: []string{"app"}, Paths: []string{root + "/opt/apps"}, Services: []string{"shop"}}
	r := &recorder{}
	d := list.Guard("process", "", r)
	spec := launcher.Spec{ID: "a", Service: "shop", User: "app", Command: []string{root + "/opt/apps/inside"}}
	require.NoError(t, d.Ensure(t.Context(), spec))
	spec.Service = "other"
	err := d.Ensure(t.Context(), spec)
	require.ErrorIs(t, err, launcher.ErrRefused)
	require.Len(t, launcher.Problems(err), 1)
	require.NoError(t, d.Stop(t.Context(), "b", 0))
	_, err = d.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"ensure " + root + "/opt/apps/bin/server", "stop b", "list"}, r.asked)
}

// TestGuardOfAUser says who programs run as that name nobody. It is somebody who is allowed, or they do not run.
func TestGuardOfAUser(t *testing.T) {
	t.Parallel()
	root := tree(t)
	list := &allow.List{Drivers: []string{"process", "external"}, Users: []string{"app", "web"}, Paths: []string{root + "/opt/apps"}, Services: []string{"shop"}}
	r := &recorder{}
	spec := launcher.Spec{ID: "a", Service: "shop", Command: []string{root + "/opt/apps/inside"}}
	require.ErrorContains(t, list.Guard("process", "", r).Ensure(t.Context(), spec), "user: is not given, and the launcher has no --user")
	require.ErrorContains(t, list.Guard("process", "root", r).Ensure(t.Context(), spec), `user: "root" is not allowed on this node`)
	require.Empty(t, r.users)
	require.NoError(t, list.Guard("process", "app", r).Ensure(t.Context(), spec))
	spec.User = "web"
	require.NoError(t, list.Guard("process", "app", r).Ensure(t.Context(), spec), "its own word counts")
	spec.Command, spec.User = nil, ""
	require.NoError(t, list.Guard("external", "app", r).Ensure(t.Context(), spec), "nothing runs, so nothing runs as anybody")
	require.Equal(t, []string{"app", "web", ""}, r.users)
}

// TestGuardCountsMachines also against a leader that asks for more than the node's owner permits.
func TestGuardCountsMachines(t *testing.T) {
	t.Parallel()
	r := &recorder{there: []launcher.Status{{ID: "a"}, {Kind: cluster.KindNode, ID: "n7"}}}
	list := &allow.List{Drivers: []string{"hook"}, Services: []string{"*"}}
	spec := launcher.Spec{Kind: cluster.KindNode, ID: "n8", Service: "shop"}
	err := list.Guard("hook", "", r).Ensure(t.Context(), spec)
	require.ErrorContains(t, err, "no machines may be acquired by this node")
	list.Nodes = &allow.Nodes{Most: 1}
	d := list.Guard("hook", "", r)
	err = d.Ensure(t.Context(), spec)
	require.ErrorIs(t, err, launcher.ErrRefused)
	require.ErrorContains(t, err, "1 machines are acquired, as many as are allowed")
	spec.ID = "n7"
	require.NoError(t, d.Ensure(t.Context(), spec), "the same one again")
	spec.ID, list.Nodes.Most = "n8", 2
	require.NoError(t, d.Ensure(t.Context(), spec))
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(text string) string {
		file := filepath.Join(dir, "launcher.yaml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		return file
	}
	want := &allow.List{Drivers: []string{"process"}, Users: []string{"app", "1000"}, Paths: []string{"/opt/apps"}, Services: []string{"*"}}
	for _, text := range []string{
		"drivers: [process]\nusers: [app, '1000']\npaths: [/opt/apps]\nservices: ['*']\n",
		`{"drivers": ["process"], "users": ["app", "1000"], "paths": ["/opt/apps"], "services": ["*"]}`,
	} {
		got, err := allow.Read(write(text))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	got, err := allow.Read(write(""))
	require.NoError(t, err)
	require.Equal(t, &allow.List{}, got, "an empty list allows nothing")
	got, err = allow.Read(write("drivers: [hook]\nservices: ['*']\nnodes: {most: 4, cpu: 8, memory: 16GiB, labels: {zone: east}, idle: 20m}\n"))
	require.NoError(t, err)
	offer, err := got.Offer()
	require.NoError(t, err)
	require.Equal(t, &cluster.NodeOffer{Most: 4, Capacity: cluster.Resources{CPU: 8, Memory: 16 << 30}, Labels: map[string]string{"zone": "east"}, Idle: cluster.Duration(20 * time.Minute)}, offer)
	got, err = allow.Read(write("drivers: [hook]\nnodes: {most: 1}\n"))
	require.NoError(t, err)
	offer, err = got.Offer()
	require.NoError(t, err)
	require.Equal(t, cluster.DefaultEmpty, offer.Idle)
	for text, want := range map[string]string{
		"driver: [process]":                                       "unknown field",
		"drivers: process: x":                                     "launcher.yaml",
		"drivers: [docker]":                                       "is no driver",
		"users: ['*']":                                            "name each of them",
		"users: ['']":                                             "name each of them",
		"paths: [opt]":                                            "absolute path",
		"paths: [/]":                                              "below the root",
		"paths: [/opt/../etc]":                                    "absolute path",
		"services: [A_B]":                                         "is not the name of a service",
		"drivers: [hook]\nnodes: {most: 0}":                       "nodes: most: 0 is outside 1..1000",
		"drivers: [process]\nnodes: {most: 1}":                    "machines come from driver hook",
		"drivers: [hook]\nnodes: {most: 1, cpu: -1}":              "cpu: -1 is no number",
		"drivers: [hook]\nnodes: {most: 1, memory: 4GB}":          "memory: \"4GB\" is not an amount",
		"drivers: [hook]\nnodes: {most: 1, idle: soon}":           "idle: \"soon\" is no time",
		"drivers: [hook]\nnodes: {most: 1, idle: 0s}":             "idle: \"0s\" is no time",
		"drivers: [hook]\nnodes: {most: 1, labels: {a: \"\\n\"}}": "labels: label",
		"drivers: [hook]\nnodes: {most: 1, size: 3}":              "unknown field",
		strings.Repeat("#", 2<<20):                                "has more than",
	} {
		_, err := allow.Read(write(text))
		require.ErrorContains(t, err, want, "%.40s", text)
	}
}

func TestReadOnlyWhatIsSafe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "launcher.yaml")
	require.NoError(t, os.WriteFile(file, []byte("drivers: [process]"), 0o644))
	good := func() { _, err := allow.Read(file); require.NoError(t, err) }
	unsafe := func(file, what string) {
		_, err := allow.Read(file)
		require.ErrorIs(t, err, launcher.ErrUnsafe)
		require.ErrorContains(t, err, what)
	}
	good()
	for _, mode := range []os.FileMode{0o664, 0o646, 0o666} {
		require.NoError(t, os.Chmod(file, mode))
		unsafe(file, fmt.Sprintf("mode %#o", mode))
	}
	require.NoError(t, os.Chmod(file, 0o600))
	good()
	require.NoError(t, os.Chown(file, 65534, 65534))
	unsafe(file, "user 65534")
	require.NoError(t, os.Chown(file, 0, 0))
	require.NoError(t, os.Chmod(dir, 0o777))
	unsafe(file, "above it")
	require.NoError(t, os.Chmod(dir, 0o777|os.ModeSticky))
	good()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Chown(dir, 65534, 65534))
	unsafe(file, "above it")
	require.NoError(t, os.Chown(dir, 0, 0))

	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(file, link))
	unsafe(link, "is a link")
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, unix.Mkfifo(fifo, 0o600))
	unsafe(fifo, "not a plain file")
	unsafe(dir, "not a plain file")
	_, err := allow.Read(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = allow.Read(filepath.Join(dir, "none", "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
