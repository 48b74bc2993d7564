package describe

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/loadmon"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func text(t *testing.T, d *Service) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, d.Text(&b, noon, "name: "+d.File.Name+"\nports: []\n"))
	return b.String()
}

func draft(t *testing.T) (*cluster.Draft, *cluster.Service) {
	t.Helper()
	s := &cluster.Service{Name: "web", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, ModRevision: 7}
	for _, address := range []string{"192.168.1.1:80", "192.168.1.2:80", "192.168.1.3:80", "192.168.1.4:80"} {
		i, err := cluster.ParseInstance(address)
		require.NoError(t, err)
		s.Instances = append(s.Instances, i)
	}
	d := cluster.NewDraft()
	d.Service("web", s)
	return d, s
}

func TestPlainService(t *testing.T) {
	t.Parallel()
	d, _ := draft(t)
	got, err := Of("web", Known{Snapshot: d.Snapshot(9), Now: noon})
	require.NoError(t, err)
	golden(t, "plain.txt", text(t, got))
	require.Equal(t, []cluster.Event{}, got.Events, "a list in JSON")
	_, err = Of("wbe", Known{Snapshot: d.Snapshot(9), Now: noon})
	require.EqualError(t, err, `service "wbe" does not exist: there are web`)
}

// full has something of everything.
func full(t *testing.T) Known {
	d, s := draft(t)
	half, three := 50, 3
	s.Balance, s.Blend, s.Affinity = cluster.BalanceAdaptive, &half, cluster.AffinityNone
	s.Check = &cluster.Check{HTTP: &cluster.HTTPCheck{Path: "/healthz"}}
	s.Load = &cluster.LoadSource{HTTP: "/load"}
	d.Config(&cluster.Config{Paused: true, VIPPools: []netip.Prefix{netip.MustParsePrefix("10.10.0.0/16")}})
	d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1")}, Labels: map[string]string{"zone": "east"}})
	d.Node("n2", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.2"), netip.MustParseAddr("192.168.1.3")}})
	d.Weights("web", &cluster.Weights{Share: map[string]int{"192.168.1.1:80": 6000, "192.168.1.2:80": 4000}})
	d.Admin("web", "192.168.1.4:80", &cluster.Admin{Weight: &three, Since: noon.Add(-time.Hour)})
	d.Health("n2", cluster.NodeHealth{"web": {
		"192.168.1.3:80": {Verdict: cluster.Dead, Reason: "connection refused", Output: "dial\ttcp\nrefused", Since: noon.Add(-90 * time.Second)},
	}})
	problem := cluster.Problem{Object: "service web", Field: "check.exec", What: "this node runs no programs", Fix: "start its agent with --allow-exec"}
	return Known{
		Snapshot: d.Snapshot(9), Now: noon,
		Fleet: controlcenter.Fleet{
			Alive:   map[string]bool{"n1": true, "n2": true, "new": true},
			Applied: map[string]cluster.Applied{"n1": {Revision: 9, Problems: []cluster.Problem{problem, {Object: "service other", What: "x"}}}, "n2": {Revision: 6, Refused: []string{"web"}}, "quiet": {Revision: 9}},
			Repairs: map[string]cluster.Repairs{"n1": {Count: 3, Newest: []cluster.Repair{{At: noon.Add(-2 * time.Hour), What: "table ip weir: element deleted"}}}},
		},
		Loads: map[string]loadmon.Load{
			"192.168.1.1:80": {Active: 12, Busy: 0.512, LatencyMS: 1.25, QuotaCPUs: 0.5, MemoryBytes: 300 << 20, MemoryLimitBytes: 2 << 30, OpenFiles: 40, OpenFilesLimit: 1024, Utilization: new(0.625)},
			"192.168.1.2:80": {Active: 1, Busy: 0.02, MemoryBytes: 100},
		},
		Events: []cluster.Event{{At: noon.Add(-time.Minute), Service: "web", What: cluster.EventWeights, Reason: "its load"}},
		Notes:  []string{"loads of n3 are not shown: no answer"},
	}
}

func TestFullService(t *testing.T) {
	t.Parallel()
	got, err := Of("web", full(t))
	require.NoError(t, err)
	golden(t, "full.txt", text(t, got))
	require.Equal(t, []string{"n1", "n2", "new"}, []string{got.Nodes[0].Name, got.Nodes[1].Name, got.Nodes[2].Name}, "and nothing of the one that has nothing to say")
	require.Equal(t, []cluster.WeightBy{cluster.ByLeader, cluster.ByLeader, cluster.ByLeader, cluster.ByOperator}, []cluster.WeightBy{got.Rows[0].By, got.Rows[1].By, got.Rows[2].By, got.Rows[3].By})
	require.Nil(t, got.Rows[2].Load)
}

// Problems that the service has anyway are told once, and not again for each node that reports them.
func TestProblemsAreToldOnce(t *testing.T) {
	t.Parallel()
	k := full(t)
	all, err := Of("web", k)
	require.NoError(t, err)
	k.Fleet.Applied["n1"] = cluster.Applied{Revision: 9, Problems: all.Problems}
	k.Fleet.Repairs = nil
	got, err := Of("web", k)
	require.NoError(t, err)
	require.Equal(t, "n2", got.Nodes[0].Name)
}

func TestOnlyTheNewestEvents(t *testing.T) {
	t.Parallel()
	k := full(t)
	for i := range int64(30) {
		k.Events = append(k.Events, cluster.Event{Revision: i})
	}
	got, err := Of("web", k)
	require.NoError(t, err)
	require.Len(t, got.Events, MaxEvents)
	require.Equal(t, int64(29), got.Events[MaxEvents-1].Revision)
}

type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestTextEndsWithItsReader(t *testing.T) {
	t.Parallel()
	got, err := Of("web", full(t))
	require.NoError(t, err)
	require.ErrorContains(t, got.Text(gone{}, noon, ""), "broken pipe")
}

func TestWhatAnApplicationSays(t *testing.T) {
	t.Parallel()
	for want, load := range map[string]*loadmon.Load{"": {}, "0%": {Utilization: new(0.)}, "wishes 75%": {Wish: new(0.75)}} {
		require.Equal(t, want, says(Instance{Load: load}))
	}
	require.Empty(t, says(Instance{}))
}

func TestPassed(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{-time.Hour: "0s ago", time.Second: "1s ago", 90 * time.Second: "1m ago", 47 * time.Hour: "47h ago", 100 * time.Hour: "4d ago"} {
		require.Equal(t, want, passed(noon.Add(-d), noon))
	}
	require.Equal(t, []string{"1 KiB", "300 MiB", "1.5 GiB"}, []string{bytes(100), bytes(300 << 20), bytes(3 << 29)})
}
