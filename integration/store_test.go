package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// TestContest has two services claim one frontend in etcd, which no command of ours lets through.
func TestContest(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2})
	f, instances := w.Frontend(cluster.TCP, false), w.ServeAll(3, false)
	w.PutAll([]*cluster.Service{Service("z-older", f, instances[:2]...)})
	w.PutAll([]*cluster.Service{Service("a-younger", f, instances[2])})
	for i := range w.Nodes {
		w.Told(fmt.Sprintf("n%d", i+1), 5*time.Second, func(a cluster.Applied) bool {
			return slices.ContainsFunc(a.Problems, func(p cluster.Problem) bool {
				return p.Object == "service a-younger" && strings.Contains(p.What, "belongs to service z-older, which is older")
			})
		})
		w.Only(w.Nodes[i], f, instances[:2]...)
	}
	w.Only(w.Client, f, instances[:2]...)
	w.Withdraw("z-older")
	for i := range w.Nodes {
		w.Only(w.Nodes[i], f, instances[2])
		w.Told(fmt.Sprintf("n%d", i+1), 5*time.Second, func(a cluster.Applied) bool { return len(a.Problems) == 0 })
	}
}

// TestEtcdAway stops etcd. Nothing happens to traffic; an agent that has to start without etcd, and finds its rules gone
// as well, works from its file.
func TestEtcdAway(t *testing.T) {
	t.Parallel()
	for _, owner := range owners {
		t.Run(owner, func(t *testing.T) {
			t.Parallel()
			w := world(t, Options{Owner: owner, Program: plain}) // its start is part of what is measured
			o, a := w.watch(), w.Agents[0]
			w.StopEtcd()
			w.Eventually(10*time.Second, "the agent says so", func() bool {
				code, body := a.Get("/readyz")
				return code == http.StatusServiceUnavailable && strings.Contains(body, "the last rules are kept")
			})
			o.more(300)
			w.StartEtcd()
			a.AwaitReady(15 * time.Second)
			o.more(100)
			o.unharmed()

			// The file is written behind the rules, and at most every ten seconds: a start writes it anew.
			a.Stop()
			a.Start()
			file := filepath.Join(a.StateDir, "snapshot.json")
			w.Eventually(15*time.Second, "the snapshot file is written", func() bool {
				text, err := os.ReadFile(file)
				return err == nil && strings.Contains(string(text), `"watched"`)
			})
			w.StopEtcd()
			took := time.Hour
			for range 3 { // the best of three: two shared cores may be busy with something else
				a.Kill()
				w.Unrule(w.Nodes[0])
				start := time.Now()
				a.Start()
				load := Load(o.f, 1)
				load.Timeout = 50 * time.Millisecond
				w.Eventually(5*time.Second, "the service is back", func() bool {
					r, err := lab.Flood(t.Context(), w.Client.Namespace, load)
					require.NoError(t, err)
					return r.Failed == 0
				})
				took = min(took, time.Since(start))
			}
			t.Logf("back %s after the start of the process", took.Round(time.Millisecond))
			require.Less(t, took, time.Second)
			w.Only(w.Nodes[0], o.f, o.instances[0].ID(), o.instances[1].ID(), o.instances[2].ID())
			code, body := a.Get("/readyz")
			require.Equal(t, http.StatusServiceUnavailable, code)
			require.Contains(t, body, "working from the snapshot file")
			require.Equal(t, 1.0, a.Metric("weir_agent_stale"))
			w.StartEtcd()
			a.AwaitReady(15 * time.Second)
			require.Zero(t, a.Metric("weir_agent_stale"))
		})
	}
}

// TestCompaction deletes services and compacts etcd while an agent is away, or stands still: no ghost stays.
func TestCompaction(t *testing.T) {
	t.Parallel()
	for _, away := range []string{"dead", "stopped"} {
		t.Run(away, func(t *testing.T) {
			t.Parallel()
			w := world(t, Options{})
			a, instances := w.Agents[0], w.ServeAll(3, false)
			want := map[cluster.Frontend]map[netip.AddrPort]int{}
			var services []*cluster.Service
			for i := range 9 {
				f := w.Frontend(cluster.TCP, false)
				services = append(services, Service(fmt.Sprintf("s%d", i), f, instances[i%3]))
				want[f] = map[netip.AddrPort]int{netip.MustParseAddrPort(instances[i%3]): 1}
			}
			w.Publish(services...)
			require.Equal(t, want, w.Slots(w.Nodes[0]))
			if away == "dead" {
				a.Kill()
			} else {
				a.Signal(syscall.SIGSTOP)
			}
			client, err := w.Store.Client()
			require.NoError(t, err)
			for i := range 4 {
				_, err := client.Delete(t.Context(), w.Store.Prefix()+fmt.Sprintf("net/services/s%d", i))
				require.NoError(t, err)
				delete(want, services[i].Frontends()[0])
			}
			f := services[8].Frontends()[0]
			revision := w.PutAll([]*cluster.Service{Service("s8", f, instances[0])})
			want[f] = map[netip.AddrPort]int{netip.MustParseAddrPort(instances[0]): 1}
			_, err = client.Compact(t.Context(), revision)
			require.NoError(t, err)
			if away == "dead" {
				a.Start()
			} else {
				a.Signal(syscall.SIGCONT)
			}
			a.AwaitRevision(revision, 15*time.Second)
			require.Equal(t, want, w.Slots(w.Nodes[0]))
			require.ErrorIs(t, w.refused(w.Nodes[0], services[0].Frontends()[0], time.Second).err, syscall.ENETUNREACH, "no route leads there any more")
		})
	}
}

// TestMalformed puts 1,000 values that nobody can read among good ones.
func TestMalformed(t *testing.T) {
	t.Parallel()
	const good, bad = 100, 1000
	w := world(t, Options{})
	instances := w.ServeAll(3, false)
	want := map[cluster.Frontend]map[netip.AddrPort]int{}
	var services []*cluster.Service
	for i := range good {
		f := w.Frontend(cluster.TCP, false)
		services = append(services, Service(fmt.Sprintf("good-%d", i), f, instances[i%3]))
		want[f] = map[netip.AddrPort]int{netip.MustParseAddrPort(instances[i%3]): 1}
	}
	f := services[0].Frontends()[0]
	other, err := json.Marshal(Service("good-0", f, instances[1]))
	require.NoError(t, err)
	values := []string{
		"", "null", "{", "\x00\xff\xfe", `{"name": "bad"}`, `[]`, `"text"`, "1e999", string(other) /* another's name */, strings.Repeat("[", 10_000),
		`{"unknown": 1}`, `{"name": "%s", "vips": ["10.10.9.1"], "ports": [{"port": 0}]}`, `{"name": "%s", "vips": ["10.10.9.1"], "ports": [{"port": 80, "protocol": "icmp"}]}`,
		`{"name": "%s", "vips": ["10.10.9.1"], "ports": [{"port": 99999}]}`, `{"name": "%s"} {"name": "%s"}`, `{"name": "\u001b[31m", "vips": ["x"]}`,
	}
	keys := []string{"net/services/bad-%d", "net/services/BAD-%d", "net/services/bad/%d", "net/instances/n%d/good-0/x", "net/admin/good-0/%d", "net/weights/bad-%d", "net/health/bad-%d", "net/nonsense/%d"}
	for i := range bad {
		if i%10 == 0 {
			w.PutAll(services[i/10 : i/10+1])
		}
		key, value := fmt.Sprintf(keys[i%len(keys)], i), values[(i/len(keys))%len(values)]
		w.Put(key, strings.ReplaceAll(value, "%s", filepath.Base(key)))
	}
	last := w.Frontend(cluster.TCP, false)
	want[last] = map[netip.AddrPort]int{netip.MustParseAddrPort(instances[0]): 1}
	w.Publish(Service("last", last, instances[0]))
	require.Equal(t, want, w.Slots(w.Nodes[0]))
	for _, s := range services[:5] {
		w.Only(w.Client, s.Frontends()[0], s.Instances[0].ID)
	}
	_, problems := w.Agents[0].Get("/debug/problems")
	reported := 0
	for line := range strings.Lines(problems) {
		if strings.HasPrefix(line, "key net/") {
			reported++
		}
	}
	require.Equal(t, bad, reported, "%.2000s", problems)
	require.NotContains(t, problems, "\x1b")
	told := w.Told("n1", time.Minute, func(a cluster.Applied) bool { return len(a.Problems) > 0 })
	require.Less(t, len(told.Problems), bad, "a report is bounded")
	require.Equal(t, bad, told.ProblemCount)
	require.EqualValues(t, bad, w.Agents[0].Metric("weir_agent_problems"))
	require.EqualValues(t, 1, w.Agents[0].Metric("weir_agent_etcd_connected"))
	w.Agents[0].AwaitLog("msg=problem ", 10*time.Second)
	w.Agents[0].AwaitReady(10 * time.Second)
}
