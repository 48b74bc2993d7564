package foreman_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/hook"
	"github.com/weir-lb/weir/launcher/keep"
)

// cloud is a hook whose machines join the lab as nodes.
type cloud struct {
	lab *lab

	mu       sync.Mutex
	machines map[string]rented
}

type rented struct {
	Kind    cluster.Kind `json:"kind"`
	ID      string       `json:"id"`
	Service string       `json:"service"`
	Host    string       `json:"host"`
	Key     string       `json:"key"`
	end     func()
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Key, ID string
		Spec    launcher.Spec
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch filepath.Base(r.URL.Path) {
	case "acquire":
		m, there := c.machines[q.Spec.ID]
		if !there {
			number := 50 + len(c.machines)
			m = rented{Kind: q.Spec.Kind, ID: q.Spec.ID, Service: q.Spec.Service, Host: fmt.Sprintf("192.168.10.%d", number+1), Key: q.Key}
			m.end = c.lab.node(m.ID, number, func(k *keep.Config) { k.Self.Capacity.CPU = q.Spec.Resources.CPU })
			c.machines[m.ID] = m
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"id": m.ID, "host": m.Host})
		return
	case "release":
		if m, there := c.machines[q.ID]; there {
			m.end()
			delete(c.machines, q.ID)
		}
	}
	all := []rented{}
	for _, m := range c.machines {
		all = append(all, m)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"instances": all})
}

func (c *cloud) has() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.machines {
		names = append(names, name)
	}
	return names
}

// TestAMachineIsAcquiredAndGivenBack from the service that has no room to the machine that joins, and back, over a real hook.
func TestAMachineIsAcquiredAndGivenBack(t *testing.T) {
	t.Parallel()
	const idle = 2 * time.Second
	l := emptyLab(t)
	c := &cloud{lab: l, machines: map[string]rented{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	driver, err := hook.Open(hook.Config{Dir: filepath.Join(t.TempDir(), "notes"), Owner: "n1", URL: server.URL})
	require.NoError(t, err)
	l.node("n1", 0, func(k *keep.Config) {
		k.Drivers[cluster.DriverHook], k.Looks = driver, map[string]time.Duration{cluster.DriverHook: 100 * time.Millisecond}
		k.Self.Drivers = []string{cluster.DriverHook, cluster.DriverProcess}
		k.Self.Capacity.CPU = 2
		k.Self.Nodes = &cluster.NodeOffer{Most: 2, Capacity: cluster.Resources{CPU: 2}, Idle: cluster.Duration(idle)}
	})
	stop, _ := l.lead("cc1")
	four, two := 4, 2
	l.publish(func(s *cluster.Service) { s.Replicas, s.Run.Resources.CPU = &four, 1 })
	serving := l.until("four serve", are(4))
	require.Len(t, serving["n1"], 2, "first where there is room")
	require.Len(t, c.has(), 1)
	name := c.has()[0]
	require.Len(t, serving[name], 2)

	// Another leader, and a whole idle time, take nothing from a machine that is used.
	stop()
	_, report := l.lead("cc2")
	require.Eventually(t, func() bool { s := report().Services; return len(s) == 1 && s[0].Serving == 4 }, soon, 10*time.Millisecond, "machines are not counted")
	require.Never(t, func() bool { return !slices.Equal([]string{name}, c.has()) }, idle+time.Second, 50*time.Millisecond)

	// What is said at once is heard at once: those on the machine need no substitutes.
	l.seen(l.commit(cluster.SetConfig{Config: &cluster.Config{Paused: true}}))
	l.commit(cluster.SetNodeAdmin{Node: name, Admin: &cluster.NodeAdmin{Drain: true}})
	l.publish(func(s *cluster.Service) { s.Replicas = &two })
	l.commit(cluster.SetConfig{Config: &cluster.Config{}})
	require.Eventually(t, func() bool { return len(c.has()) == 0 }, soon, 10*time.Millisecond, "it is given back")
	require.Equal(t, 2, total(l.serving()))
	require.Eventually(t, func() bool {
		s, err := l.store.Snapshot(t.Context())
		require.NoError(t, err)
		_, known := s.Nodes.Get(name)
		ops := l.operations()
		return !known && len(ops.Assigned["n1"]) == 2 && len(ops.Launched["n1"]) == 2
	}, soon, 10*time.Millisecond, "and forgotten")
	var told []string
	for _, e := range l.events() {
		told = append(told, e.What+" "+e.Reason)
	}
	for _, want := range []string{
		"acquired node " + name + " from the hook of node n1: none of 1 nodes has room", "on node n1, which has room: 4 are wanted",
		"on node " + name + ", from the hook of node n1: 4 are wanted", "returned node " + name + " goes back to the hook of node n1: nothing has run on it for 2s",
	} {
		require.True(t, slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, want) }), "%s is not among %q", want, told)
	}
}
