package status

import (
	"encoding/json"
	"errors"
	"flag"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// well is a cluster of three in which nothing is wrong.
func well(t *testing.T) Known {
	t.Helper()
	d := cluster.NewDraft()
	d.Ready(true)
	nodes := []string{"n1", "n2", "n3"}
	k := Known{
		Now: noon, Fleet: controlcenter.Fleet{Alive: map[string]bool{}, Applied: map[string]cluster.Applied{}, Gone: map[string]cluster.Gone{}},
		Operations: &cluster.Operations{
			Launchers: map[string]cluster.Launcher{}, Assigned: map[string]map[string]cluster.Assignment{}, Launched: map[string]map[string]cluster.Launched{},
			Scaled: map[string]cluster.Scaled{},
		},
		Diagnosis: &etcd.Diagnosis{
			Endpoints: []etcd.Endpoint{
				{URL: "https://10.0.0.1:2379", Given: true, HTTPS: true, Version: "3.7.3", Member: 1, Leader: 2, Size: 12 << 20, Quota: 2 << 30},
				{URL: "https://10.0.0.2:2379", Given: true, HTTPS: true, Version: "3.7.3", Member: 2, Leader: 2, Size: 12 << 20, Quota: 2 << 30},
				{URL: "https://10.0.0.3:2379", Given: true, HTTPS: true, Version: "3.7.3", Member: 3, Leader: 2, Size: 11 << 20, Quota: 2 << 30},
			},
			Members: []etcd.Member{{ID: 1, Name: "a"}, {ID: 2, Name: "b"}, {ID: 3, Name: "c"}},
		},
		Candidates: []etcd.Candidacy{
			{Leader: etcd.Leader{Name: "a", Since: noon.Add(-time.Hour), Leads: noon.Add(-4 * time.Minute), Pages: "127.0.0.1:9648"}, Term: 1234},
			{Leader: etcd.Leader{Name: "c", Since: noon}, Term: 1240},
		},
		Page: &Page{},
	}
	for i, n := range nodes {
		d.Node(n, &cluster.Node{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 10, byte(i + 1)})}})
		k.Fleet.Alive[n], k.Fleet.Applied[n] = true, cluster.Applied{Revision: 50, At: noon}
		k.Operations.Launchers[n] = cluster.Launcher{}
	}
	publish(t, d, "a", 1, nil)
	publish(t, d, "b", 2, func(s *cluster.Service) {
		s.Instances, s.Run, s.Scale = nil, &cluster.Run{Command: []string{"/bin/b"}}, &cluster.Scale{Min: 1, Max: 4}
	})
	k.Operations.Scaled["b"] = cluster.Scaled{Replicas: 2}
	for _, n := range nodes[:2] {
		d.Instance(n, "b", "b-"+n, &cluster.Instance{ID: "b-" + n, Addr: netip.MustParseAddr("192.168.10." + n[1:]), Port: 20000, Weight: 1, Node: n})
		k.Operations.Assigned[n] = map[string]cluster.Assignment{"b-" + n: {Service: "b", Wanted: cluster.WantServing}}
		k.Operations.Launched[n] = map[string]cluster.Launched{"b-" + n: {Service: "b", Phase: cluster.PhaseReady}}
	}
	d.Barrier(50)
	k.Snapshot = d.Snapshot(60)
	return k
}

func publish(t *testing.T, d *cluster.Draft, name string, number byte, change func(*cluster.Service)) {
	t.Helper()
	i, err := cluster.ParseInstance("192.168.20.1:80")
	require.NoError(t, err)
	s := &cluster.Service{
		Name: name, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 1, number})}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
		Instances: []cluster.Instance{i}, CreateRevision: int64(number), ModRevision: int64(number),
	}
	if change != nil {
		change(s)
	}
	d.Service(name, s)
}

func text(t *testing.T, s Status) string {
	t.Helper()
	var b strings.Builder
	require.NoError(t, s.Text(&b))
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "testdata/" + name + ".txt"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func TestNothingNeedsAPerson(t *testing.T) {
	t.Parallel()
	s := Of(well(t))
	require.Empty(t, s.Problems)
	golden(t, "well", text(t, s))
	empty := Known{Now: noon, Snapshot: cluster.NewDraft().Snapshot(1), Operations: &cluster.Operations{}, Diagnosis: well(t).Diagnosis, Candidates: well(t).Candidates}
	require.Empty(t, Of(empty).Problems, "a cluster without anything in it")
	require.Contains(t, text(t, Of(empty)), "launchers  none\n")
}

// Everything that can be wrong, each with the command that looks further, and whatever others wrote on one line.
func TestWhatNeedsAPerson(t *testing.T) {
	t.Parallel()
	k := well(t)
	d := cluster.NewDraft()
	d.Ready(true)
	d.Config(&cluster.Config{Paused: true})
	for i, n := range []string{"n1", "n2", "n3", "n4"} {
		d.Node(n, &cluster.Node{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 10, byte(i + 1)})}})
	}
	publish(t, d, "zero", 1, func(s *cluster.Service) { s.Instances = nil })
	publish(t, d, "short", 2, func(s *cluster.Service) {
		other, err := cluster.ParseInstance("192.168.20.2:80")
		require.NoError(t, err)
		other.Addr = netip.MustParseAddr("192.168.10.2")
		s.Instances = append(s.Instances, other)
	})
	publish(t, d, "panic", 3, func(s *cluster.Service) { s.Instances[0].Addr = netip.MustParseAddr("192.168.10.1") })
	publish(t, d, "asleep", 4, func(s *cluster.Service) {
		s.Instances, s.Run, s.Scale = nil, &cluster.Run{Command: []string{"/bin/b"}}, &cluster.Scale{Min: 0, Max: 4}
	})
	k.Operations.Scaled["asleep"] = cluster.Scaled{}
	d.Health("n1", cluster.NodeHealth{"panic": {"192.168.20.1:80": {Verdict: cluster.Failing, Reason: "x"}}})
	d.Health("n2", cluster.NodeHealth{"short": {"192.168.20.2:80": {Verdict: cluster.Dead, Reason: "gone"}}})
	d.Down("n4", &cluster.Down{Reason: "no power\nreally", Since: noon})
	d.Problem("net/services/web", &cluster.Problem{Object: "key net/services/web", What: "evil\nline", Fix: "write it again"})
	d.Barrier(55)
	k.Snapshot = d.Snapshot(60)
	k.Candidates = nil
	k.Page = nil
	k.Diagnosis.Endpoints[2] = etcd.Endpoint{URL: "https://10.0.0.3:2379", Given: true, HTTPS: true, Err: errors.New("connection refused")}
	k.Diagnosis.Endpoints[0].Alarms = []string{"NOSPACE"}
	k.Diagnosis.Insecure = true
	delete(k.Fleet.Alive, "n3")
	k.Fleet.Gone["n3"] = cluster.Gone{State: cluster.HeldBack, Reason: "three at once", Since: noon}
	k.Fleet.Applied["n1"] = cluster.Applied{Revision: 50, At: noon, Held: &cluster.Held{Revision: 49, Deleted: 12, Reason: "x"}, Insecure: true, Problems: []cluster.Problem{{Object: "etcd", What: "its revision fell"}}}
	delete(k.Operations.Launchers, "n2")
	k.Operations.Launched["n1"]["b-n1"] = cluster.Launched{Service: "b", Phase: cluster.PhaseReady, Problem: &cluster.Problem{Object: "instance b-n1", Field: "resources", What: "memory is not limited:\nno"}}
	k.Operations.Problems = []cluster.Problem{{Object: "key ops/assign/n1/x", What: "not JSON"}}
	s := Of(k)
	require.Equal(t, Services{Short: 1, Zero: 1, Asleep: 1, Panic: 1}, s.Services)
	got := text(t, s)
	golden(t, "ill", got)
	for _, p := range s.Problems {
		require.NotEmpty(t, p.What)
		require.NotEmpty(t, p.Look, p.What)
	}
	for _, says := range []string{"no control center leads", "connection refused", "NOSPACE", "PAUSED", "held back", "n4", `evil\nline`, "launcher", `1 serving instances are not as they were asked to be, on n1; the first, instance b-n1: resources: memory is not limited:\nno`, "fell back", "this command", "not JSON"} {
		require.Contains(t, got+string(mustJSON(t, s)), says)
	}
	require.Less(t, strings.Count(got, "\n"), 50)
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	out, err := json.Marshal(v)
	require.NoError(t, err)
	return out
}

func TestTheLeadersOwnWord(t *testing.T) {
	t.Parallel()
	k := well(t)
	k.Page = &Page{Problems: []string{"service a: no room"}, Error: "etcd is slow"}
	s := Of(k)
	require.Len(t, s.Problems, 2)
	require.Equal(t, "the leader: service a: no room", s.Problems[0].What)
	k.Page = nil
	require.Contains(t, text(t, Of(k)), "not asked itself (127.0.0.1:9648)")
}

// What every node tells of one service needs one person once.
func TestAProblemOfManyNodesIsToldOnce(t *testing.T) {
	t.Parallel()
	k := well(t)
	for node, a := range k.Fleet.Applied {
		a.Problems = []cluster.Problem{{Object: "service a", What: "its VIP is an address of this host", Fix: "give it another"}}
		k.Fleet.Applied[node] = a
	}
	require.Equal(t, []Problem{{"3 nodes (n1, n2, n3): service a: its VIP is an address of this host", "give it another"}}, Of(k).Problems)
}

func TestManyProblemsFitOneScreen(t *testing.T) {
	t.Parallel()
	k := well(t)
	d := cluster.NewDraft()
	for i := range byte(40) {
		publish(t, d, "s"+string('a'+rune(i/26))+string('a'+rune(i%26)), i+1, func(s *cluster.Service) { s.Instances = nil })
	}
	k.Snapshot = d.Snapshot(60)
	s := Of(k)
	require.Len(t, s.Problems, 40)
	require.Contains(t, text(t, s), "and 28 more: weir status -o json")
}

// What a dead node's launcher said last is no instance that is ready.
func TestInstancesOfNodesThatAreDown(t *testing.T) {
	t.Parallel()
	k := well(t)
	k.Snapshot.Down = map[string]*cluster.Down{"n2": {Since: noon}}
	l := launchers(k.Snapshot, k.Operations)
	require.Equal(t, []int{1, 1, 1}, []int{l.Assigned, l.Ready, l.Lost})
	require.Equal(t, "3 (n1, n2, n3); 1 of 1 instances are ready, 1 are on nodes that are down", l.words())
}
