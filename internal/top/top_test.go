package top

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/hostile"
	"github.com/weir-lb/weir/loadmon"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got+"\n"), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got+"\n")
}

func service(name string, vip string, instances ...string) *cluster.Service {
	s := &cluster.Service{Name: name, VIPs: []netip.Addr{netip.MustParseAddr(vip)}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, ModRevision: 7}
	for _, address := range instances {
		i, err := cluster.ParseInstance(address)
		if err != nil {
			panic(err)
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}

func aNode(monitor bool, addresses ...string) *cluster.Node {
	n := &cluster.Node{}
	for _, a := range addresses {
		n.Addresses = append(n.Addresses, netip.MustParseAddr(a))
	}
	if monitor {
		n.Monitor = "http://" + addresses[0] + ":9647"
	}
	return n
}

// cast is a small cluster: web on three nodes, one of its instances dead; mail on a node without a monitor; empty.
func cast() *cluster.Draft {
	d := cluster.NewDraft()
	web := service("web", "10.10.1.1", "192.168.1.1:80", "192.168.1.2:80", "192.168.1.3:80")
	web.Instances[0].Weight = 2
	d.Service("web", web)
	d.Service("mail", service("mail", "10.10.1.2", "192.168.1.1:25", "192.168.1.9:25"))
	d.Service("empty", service("empty", "10.10.1.3"))
	d.Node("n1", aNode(true, "192.168.1.1"))
	d.Node("n2", aNode(true, "192.168.1.2"))
	d.Node("n3", aNode(true, "192.168.1.3"))
	d.Node("n4", aNode(false, "192.168.1.4"))
	d.Health("n3", cluster.NodeHealth{"web": {"192.168.1.3:80": {Verdict: cluster.Dead, Reason: "refused", Since: noon.Add(-time.Minute)}}})
	return d
}

func report(node string, uptime float64, loads ...loadmon.Load) Answer {
	return Answer{Report: loadmon.Report{
		Node: node, UptimeS: uptime, Loads: loads,
		Host: loadmon.HostLoad{Processors: 4, CPU: 0.5, MemoryBytes: 1 << 30, MemoryTotalBytes: 4 << 30, Conntrack: 1000, ConntrackMax: 262144},
	}}
}

func load(service, instance string, connections, active uint64, busy, latency float64) loadmon.Load {
	return loadmon.Load{Service: service, Instance: instance, Connections: connections, Active: active, Busy: busy, LatencyMS: latency}
}

// measured is the past of the cast: two reports of n1 and n2, none that answers of n3.
func measured(s *cluster.Snapshot) *Past {
	p := &Past{}
	for i, second := range []uint64{0, 1} {
		now := noon.Add(time.Duration(5*i-5) * time.Second)
		p.Hear("n1", report("n1", 100+5*float64(i), load("web", "192.168.1.1:80", 1000+second*250, 12, 0.61, 1.25), load("mail", "192.168.1.1:25", 7, 3, 0.02, 0)), s, now)
		p.Hear("n2", report("n2", 40+5*float64(i), load("web", "192.168.1.2:80", second*150, 1234, 0.7, 1250)), s, now)
	}
	p.Hear("n3", Answer{Err: errors.New("ask the load monitor of node n3: connection \x1b[2Jrefused")}, s, noon)
	return p
}

func fleet() controlcenter.Fleet {
	return controlcenter.Fleet{
		Alive:   map[string]bool{"n1": true, "n2": true, "n4": true},
		Applied: map[string]cluster.Applied{"n1": {Revision: 9}, "n2": {Revision: 5, ProblemCount: 2}, "n3": {Revision: 9}, "n4": {Revision: 9}},
		Repairs: map[string]cluster.Repairs{"n2": {Count: 3}},
	}
}

func scene() Scene {
	s := cast().Snapshot(9)
	return Scene{Snapshot: s, Fleet: fleet(), Past: measured(s), Now: noon}
}

func TestText(t *testing.T) {
	t.Parallel()
	for name, screen := range map[string]Screen{
		"unlimited":  {Order: ByRate},
		"wide":       {Width: 120, Height: 40, Order: ByStatus},
		"narrow":     {Width: 60, Height: 40, Order: ByName},
		"narrowest":  {Width: 30, Height: 40, Order: ByRate},
		"low":        {Width: 100, Height: 12, Order: ByDrift},
		"nodes":      {Width: 100, Height: 40, Order: ByRate, Parts: NodesOnly},
		"services":   {Width: 100, Height: 40, Order: ByBusy, Parts: ServicesOnly},
		"one-screen": {Width: 100, Height: 6, Order: ByRate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := new(Board).Frame(scene())
			golden(t, name+".txt", f.Text(screen))
		})
	}
}

func TestTextTellsWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	s := scene()
	s.Past = &Past{}
	s.Notes = []string{"loads are not shown: \x1b[31mdenied", "2", "3", "4", "5", "6"}
	f := new(Board).Frame(s)
	golden(t, "unread.txt", f.Text(Screen{Width: 80, Height: 30, Order: ByRate}))
}

// A share is only told when all that take connections were measured; what is told adds up to 100.
func TestShares(t *testing.T) {
	t.Parallel()
	s := scene()
	web := byNameOf(new(Board).Frame(s))["web"]
	one, two, dead := web.Instances[0], web.Instances[1], web.Instances[2]
	require.InDelta(t, 66.667, one.Want, 0.001)
	require.InDelta(t, 62.5, *one.Have, 1e-9)
	require.InDelta(t, 37.5, *two.Have, 1e-9)
	require.InDelta(t, 4.1667, *web.Drift, 0.001)
	require.InDelta(t, -4.1667, *one.Drift, 0.001)
	require.InDelta(t, 80, *web.NewPerS, 1e-9)
	require.Nil(t, dead.Have, "it takes none, and nobody counts")
	require.Zero(t, dead.Want)
	mail := byNameOf(new(Board).Frame(s))["mail"]
	require.Nil(t, mail.Instances[0].Have, "the other one may take any number")
	require.Zero(t, *mail.NewPerS)

	// What a node still sends to one that is out is drift, too.
	s.Past.Hear("n3", report("n3", 1, load("web", "192.168.1.3:80", 0, 0, 0, 0)), s.Snapshot, noon)
	s.Past.Hear("n3", report("n3", 6, load("web", "192.168.1.3:80", 100, 0, 0, 0)), s.Snapshot, noon)
	web = byNameOf(new(Board).Frame(s))["web"]
	require.InDelta(t, 20, *web.Instances[2].Drift, 1e-9)
	require.InDelta(t, 50, *web.Instances[0].Have, 1e-9)

	// Where nodes prefer their own, nobody can say what an instance should get.
	d := cast()
	near := service("web", "10.10.1.1", "192.168.1.1:80", "192.168.1.2:80")
	near.Locality, near.ModRevision = cluster.LocalityNode, 8
	d.Service("web", near)
	s.Snapshot = d.Snapshot(10)
	web = byNameOf(new(Board).Frame(s))["web"]
	require.NotNil(t, web.Instances[0].Have)
	require.Nil(t, web.Instances[0].Drift)
	require.Nil(t, web.Drift)
}

func TestSharesOfTwoFamilies(t *testing.T) {
	t.Parallel()
	d := cluster.NewDraft()
	both := service("both", "10.10.1.1", "192.168.1.1:80", "192.168.1.2:80", "[fd00::1]:80")
	both.VIPs = append(both.VIPs, netip.MustParseAddr("fd00:1::1"))
	d.Service("both", both)
	d.Node("n1", aNode(true, "192.168.1.1", "192.168.1.2", "fd00::1"))
	s := d.Snapshot(1)
	p := &Past{}
	for i, n := range []uint64{0, 100} {
		p.Hear("n1", report("n1", 1+float64(i), load("both", "192.168.1.1:80", n, 0, 0, 0), load("both", "192.168.1.2:80", 3*n, 0, 0, 0), load("both", "[fd00::1]:80", 9*n, 0, 0, 0)), s, noon)
	}
	got := new(Board).Frame(Scene{Snapshot: s, Past: p, Now: noon}).Services[0].Instances
	require.Equal(t, []float64{50, 25, 50, 75, 100, 100}, []float64{got[0].Want, *got[0].Have, got[1].Want, *got[1].Have, got[2].Want, *got[2].Have})
}

func byNameOf(f Frame) map[string]Service {
	out := map[string]Service{}
	for _, s := range f.Services {
		out[s.Name] = s
	}
	return out
}

// The picture of what a node said is gone when it is old, when its monitor began anew, and when it may not say it.
func TestPast(t *testing.T) {
	t.Parallel()
	d := cast()
	s := d.Snapshot(9)
	of := func(p *Past, now time.Time) Figures { return p.figures("n1", id{"web", "192.168.1.1:80"}, now) }
	at := func(uptime float64, connections uint64) Answer {
		return report("n1", uptime, load("web", "192.168.1.1:80", connections, 1, 0.5, 0))
	}
	p := &Past{}
	require.Equal(t, Figures{}, of(p, noon))
	p.Hear("n1", at(5, 100), s, noon)
	require.Nil(t, of(p, noon).NewPerS, "one report makes no rate")
	require.Equal(t, 0.5, *of(p, noon).Busy)
	require.Nil(t, of(p, noon).LatencyMS)
	p.Hear("n1", at(5, 100), s, noon.Add(2*time.Second))
	require.Nil(t, of(p, noon).NewPerS, "the same again")
	p.Hear("n1", at(10, 150), s, noon.Add(5*time.Second))
	require.Equal(t, 10.0, *of(p, noon.Add(5*time.Second)).NewPerS)
	p.Hear("n1", Answer{Err: errors.New("gone")}, s, noon.Add(7*time.Second))
	require.NotNil(t, of(p, noon.Add(19*time.Second)).NewPerS, "one question without an answer is no reason to forget")
	require.Equal(t, Figures{}, of(p, noon.Add(20*time.Second)))
	p.Hear("n1", at(3, 20), s, noon.Add(21*time.Second))
	require.Nil(t, of(p, noon.Add(21*time.Second)).NewPerS, "it began anew")
	p.Hear("n1", at(8, 10), s, noon.Add(26*time.Second))
	require.Nil(t, of(p, noon.Add(26*time.Second)).NewPerS, "a counter fell")
	p.Hear("n1", at(13, 20), s, noon.Add(31*time.Second))
	require.Equal(t, 2.0, *of(p, noon.Add(31*time.Second)).NewPerS)
	p.Forget(func(string) bool { return false })
	require.Equal(t, Figures{}, of(p, noon.Add(31*time.Second)))

	p.Hear("n2", at(5, 100), s, noon)
	require.Nil(t, p.newest("n2", noon), "it speaks for another node")
	p.Hear("n2", report("n2", 5, load("web", "192.168.1.1:80", 1, 1, 1, 1), load("web", "192.168.1.2:80", 1, 1, 2e300, 1)), s, noon)
	require.Empty(t, p.newest("n2", noon).after.loads, "not its instance, and not a figure")
	f := new(Board).Frame(Scene{Snapshot: s, Past: p, Now: noon})
	require.Contains(t, f.Nodes[1].Why, `"192.168.1.1:80" of service "web" does not run on this node`)
}

// Many that say nothing are told of in one line, and those that say nonsense in another.
func TestSilence(t *testing.T) {
	t.Parallel()
	require.Empty(t, Silence([]Node{{Monitor: MonitorOK}, {Monitor: MonitorNone}}))
	require.Equal(t, []string{"loads are missing: a (and those of 2 more nodes)", "loads are missing: d (and those of 1 more node)"}, Silence([]Node{
		{Monitor: MonitorFailed, Why: "a"}, {Monitor: MonitorOK, Why: "d"}, {Monitor: MonitorFailed, Why: "b"}, {Monitor: MonitorFailed, Why: "c"}, {Monitor: MonitorOK, Why: "e"}, {Monitor: MonitorOK},
	}))
}

func TestMonitorStates(t *testing.T) {
	t.Parallel()
	s := scene()
	of := func(now time.Time) map[string]string {
		s.Now = now
		out := map[string]string{}
		for _, n := range new(Board).Frame(s).Nodes {
			out[n.Name] = n.Monitor
		}
		return out
	}
	require.Equal(t, map[string]string{"n1": MonitorOK, "n2": MonitorOK, "n3": MonitorFailed, "n4": MonitorNone}, of(noon))
	require.Equal(t, MonitorSilent, of(noon.Add(Fresh))["n1"])
	s.Past = &Past{}
	require.Equal(t, MonitorUnread, of(noon)["n1"])
	require.Equal(t, []string{"n1", "n2", "n3"}, Asked(s.Snapshot))
	s.Past.Hear("n1", Answer{Report: loadmon.Report{Node: "other"}}, s.Snapshot, noon)
	require.Equal(t, MonitorFailed, of(noon)["n1"])
}

// A service that nothing touched is not resolved again; one that was is.
func TestBoardKeepsWhatIsUntouched(t *testing.T) {
	t.Parallel()
	d, b := cast(), &Board{}
	s := scene()
	s.Snapshot = d.Snapshot(9)
	b.Frame(s)
	before := b.resolved
	d.Health("n2", cluster.NodeHealth{"web": {"192.168.1.2:80": {Verdict: cluster.Failing}}})
	s.Snapshot = d.Snapshot(10)
	f := b.Frame(s)
	require.Same(t, before["mail"].Resolved, b.resolved["mail"].Resolved)
	require.Equal(t, cluster.IsFailing, byNameOf(f)["web"].Instances[1].State)
	d.Service("web", nil)
	s.Snapshot = d.Snapshot(11)
	require.NotContains(t, byNameOf(b.Frame(s)), "web")
	require.NotContains(t, b.resolved, "web")
}

func TestOrders(t *testing.T) {
	t.Parallel()
	f := new(Board).Frame(scene())
	names := func(o Order) (out []string) {
		f.Sort(o)
		for _, s := range f.Services {
			out = append(out, s.Name)
		}
		return out
	}
	for o, want := range map[Order][]string{
		ByName: {"empty", "mail", "web"}, ByRate: {"web", "mail", "empty"}, ByBusy: {"web", "mail", "empty"},
		ByDrift: {"web", "empty", "mail"}, ByStatus: {"web", "empty", "mail"},
	} {
		require.Equal(t, want, names(o), o)
		parsed, err := ParseOrder(string(o))
		require.NoError(t, err)
		require.Equal(t, o, parsed)
	}
	_, err := ParseOrder("size")
	require.ErrorContains(t, err, `there is no order "size": use one of rate, busy, drift, status, name`)
	seen := map[Order]bool{}
	for o := ByRate; !seen[o]; o = o.Next() {
		seen[o] = true
	}
	require.Len(t, seen, len(Orders))
	require.Equal(t, Both, Both.Next().Next().Next())
}

// many is a cluster of the largest size.
func many(services int) Scene {
	d := cluster.NewDraft()
	for i := range services {
		name := fmt.Sprintf("s%05d", i)
		vip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String()
		d.Service(name, service(name, vip, "192.168.1.1:80", "192.168.1.2:80", "192.168.1.3:80", "192.168.1.4:80", "192.168.1.5:80", "192.168.1.6:80"))
	}
	for i := range 300 {
		d.Node(fmt.Sprintf("n%03d", i), aNode(true, fmt.Sprintf("192.168.%d.%d", 2+i/200, 1+i%200)))
	}
	return Scene{Snapshot: d.Snapshot(1), Past: &Past{}, Now: noon}
}

// Whatever the screen, the picture fits it, no character is obeyed, and what is left out is said.
func TestTextFits(t *testing.T) {
	t.Parallel()
	large, small := new(Board).Frame(many(60)), new(Board).Frame(scene())
	words := hostile.Words()
	rapid.Check(t, func(t *rapid.T) {
		f := small
		if rapid.Bool().Draw(t, "large") {
			f = large
		}
		f.Notes = rapid.SliceOfN(rapid.SampledFrom(words), 0, 8).Draw(t, "notes")
		screen := Screen{
			Width: rapid.IntRange(1, 200).Draw(t, "width"), Height: rapid.IntRange(1, 60).Draw(t, "height"),
			Order: rapid.SampledFrom(Orders).Draw(t, "order"), Parts: Parts(rapid.IntRange(0, 2).Draw(t, "parts")),
		}
		lines := strings.Split(f.Text(screen), "\n")
		if len(lines) > screen.Height {
			t.Fatalf("%d lines for %d", len(lines), screen.Height)
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > screen.Width {
				t.Fatalf("%d wide for %d: %s", n, screen.Width, line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsGraphic(r) }) {
				t.Fatalf("%q is no line", line)
			}
		}
	})
}

// BenchmarkFrame has as many as there may be.
func TestTextOfManyServices(t *testing.T) {
	t.Parallel()
	s := many(3000)
	b := &Board{}
	b.Frame(s)
	f := b.Frame(s)
	golden(t, "many.txt", f.Text(Screen{Width: 100, Height: 40, Order: ByRate}))
	require.Len(t, f.Services, 3000)
}

func BenchmarkFrame(b *testing.B) {
	s := many(10_000)
	board := &Board{}
	board.Frame(s)
	for b.Loop() {
		f := board.Frame(s)
		_ = f.Text(Screen{Width: 100, Height: 40, Order: ByRate})
	}
}
