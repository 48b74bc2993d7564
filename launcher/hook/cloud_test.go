package hook_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/hook"
	"github.com/weir-lb/weir/launcher/launchertest"
)

// machine is what a cloud has.
type machine struct {
	Owner   string       `json:"-"`
	Kind    cluster.Kind `json:"kind,omitempty"`
	ID      string       `json:"id"`
	Service string       `json:"service"`
	Host    string       `json:"host"`
	Key     string       `json:"key"`
	Problem string       `json:"problem,omitempty"`
}

// cloud is a hook that does what is asked of one, unless a test has it do otherwise.
type cloud struct {
	mu       sync.Mutex
	machines map[string]machine // by id
	calls    []string
	next     int

	// odd answers in place of the cloud, which has the request carried out before or not at all; false: as always.
	odd func(c *cloud, what string, r request, w http.ResponseWriter) bool
}

type request struct {
	Owner, Key, ID string
	Grace          string
	Spec           launcher.Spec
}

func newCloud(t testing.TB) (*cloud, string) {
	c := &cloud{machines: map[string]machine{}}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	return c, s.URL
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q request
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.Owner == "" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	what := filepath.Base(r.URL.Path)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, what+" "+cmp.Or(q.ID, q.Spec.ID)+" "+q.Key)
	if c.odd != nil && c.odd(c, what, q, w) {
		return
	}
	_ = json.NewEncoder(w).Encode(c.do(what, q))
}

// do carries out a request; the same key is the same machine.
func (c *cloud) do(what string, q request) any {
	switch what {
	case "acquire":
		m, there := c.machines[q.Spec.ID]
		if !there || m.Key != q.Key {
			c.next++
			m = machine{Owner: q.Owner, Kind: q.Spec.Kind, ID: q.Spec.ID, Service: q.Spec.Service, Host: fmt.Sprintf("10.1.%d.%d", c.next/250, c.next%250+1), Key: q.Key}
			c.machines[m.ID] = m
		}
		return map[string]string{"id": m.ID, "host": m.Host}
	case "release":
		delete(c.machines, q.ID)
		return struct{}{}
	}
	list := []machine{}
	for _, m := range c.machines {
		if m.Owner == q.Owner {
			list = append(list, m)
		}
	}
	return map[string]any{"instances": list}
}

// behave sets the odd answers, or none.
func (c *cloud) behave(odd func(c *cloud, what string, q request, w http.ResponseWriter) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.odd = odd
}

func (c *cloud) has() (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.machines {
		ids = append(ids, id)
	}
	return ids
}

// heard are the calls so far, and from now on none.
func (c *cloud) heard() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.calls = nil }()
	return strings.Join(c.calls, "\n")
}

// shellCloud is a program that keeps its machines in files.
const shellCloud = `cd "$CLOUD"
body=$(cat)
field() { printf %s "$body" | sed -n 's/.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
case $1 in
acquire)
	id=$(field id)
	n=$(printf %s "$id" | cksum | cut -d' ' -f1)
	printf '{"kind":"%s","id":"%s","service":"%s","host":"10.1.%d.%d","key":"%s"}\n' "$(field kind)" "$id" "$(field service)" $((n % 200)) $((n / 200 % 200 + 1)) "$(field key)" >"$id.new.$$"
	mv "$id.new.$$" "$id.machine"
	cat "$id.machine" ;;
release)
	rm -f "$(field id).machine"
	echo '{}' ;;
list)
	printf '{"instances":['
	comma=
	for m in *.machine; do
		IFS= read -r text 2>/dev/null <"$m" && printf '%s%s' "$comma" "$text" && comma=,
	done
	echo ']}' ;;
esac
`

func open(t testing.TB, c hook.Config) *hook.Driver {
	c.Owner = cmp.Or(c.Owner, "n1")
	d, err := hook.Open(c)
	require.NoError(t, err)
	return d
}

func spec(id string) launcher.Spec {
	return launcher.Spec{ID: id, Service: "s", Env: map[string]string{"SIZE": "small"}}
}

// node is a machine that is to join as the node of that name.
func node(id string) launcher.Spec {
	return launcher.Spec{Kind: cluster.KindNode, ID: id, Service: "s", Resources: launcher.Resources{CPU: 2, Memory: 4 << 30}, Labels: map[string]string{"zone": "east"}}
}

func TestDriver(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(testing.TB) hook.Config{
		"program": func(t testing.TB) hook.Config {
			return hook.Config{Program: script(t, shellCloud), Env: []string{"CLOUD=" + t.TempDir()}}
		},
		"web": func(t testing.TB) hook.Config {
			_, url := newCloud(t)
			return hook.Config{URL: url}
		},
	} {
		for kind, spec := range map[string]func(id string) launcher.Spec{"instances": spec, "nodes": node} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				launchertest.TestDriver(t, func(t testing.TB) launchertest.Bench {
					c := config(t)
					c.Dir = filepath.Join(t.TempDir(), "notes")
					return launchertest.Bench{
						Open:      func(t testing.TB) (launcher.Driver, func()) { return open(t, c), func() {} },
						Spec:      func(_ testing.TB, number int) launcher.Spec { return spec(fmt.Sprintf("i%d", number)) },
						Remembers: true,
					}
				})
			})
		}
	}
}

// script is a hook that is a shell script. It is read by the shell: the kernel does not run a file that somebody may write to, as
// a child may for a moment that another test was starting when the file was written.
func script(t testing.TB, text string) []string {
	file := filepath.Join(t.TempDir(), "hook")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return []string{"/bin/sh", file}
}

// slow is the limit of a call that hangs; others have to fit into it on a busy machine. short is how long a list may lag behind.
const (
	slow  = 5 * time.Second
	short = 300 * time.Millisecond
)
