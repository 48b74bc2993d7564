package demo

import (
	"bytes"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// played is a service of four instances on three nodes, one of which is down and one drained.
func played(t *testing.T) cast {
	t.Helper()
	assigned, launched := map[string]map[string]cluster.Assignment{}, map[string]map[string]cluster.Launched{}
	d := cluster.NewDraft()
	d.Service("shop", &cluster.Service{Name: "shop", VIPs: []netip.Addr{vip}, Ports: []cluster.Port{{Port: 8080, Protocol: cluster.TCP}}, Run: &cluster.Run{Command: []string{"/bin/shop"}}})
	add := func(id, node string, w cluster.Wanted, phase cluster.Phase) {
		if assigned[node] == nil {
			assigned[node], launched[node] = map[string]cluster.Assignment{}, map[string]cluster.Launched{}
		}
		assigned[node][id] = cluster.Assignment{Service: "shop", Wanted: w}
		launched[node][id] = cluster.Launched{Service: "shop", Phase: phase, PID: 7, Starts: 1}
		if phase == cluster.PhaseReady {
			address := netip.AddrFrom4([4]byte{192, 168, 10, byte(100 + len(launched)*10 + len(launched[node]))})
			d.Instance(node, "shop", id, &cluster.Instance{ID: id, Addr: address, Port: 80, Weight: 1, Standby: w == cluster.WantStandby, Draining: w == cluster.WantDrained})
		}
	}
	add("shop-1", "n1", cluster.WantServing, cluster.PhaseReady)
	add("shop-2", "n1", cluster.WantStandby, cluster.PhaseReady)
	add("shop-3", "n1", cluster.WantServing, cluster.PhaseStarting)
	add("shop-4", "n1", cluster.WantDrained, cluster.PhaseReady)
	add("shop-5", "n1", cluster.WantStopped, cluster.PhaseStopping)
	add("shop-6", "n1", cluster.WantServing, cluster.PhaseCrashed)
	add("shop-7", "n3", cluster.WantServing, cluster.PhaseReady)
	d.NodeAdmin("n2", &cluster.NodeAdmin{Drain: true})
	d.Down("n3", &cluster.Down{Reason: "silent"})
	ops := &cluster.Operations{
		Alive: map[string]bool{"n1": true, "n2": true}, Assigned: assigned, Launched: launched,
		Scaled: map[string]cluster.Scaled{"shop": {Replicas: 3, Reason: "because"}},
	}
	return castOf(d.Snapshot(9), ops, "shop", []string{"n1", "n2", "n3", "n4"})
}

func TestCast(t *testing.T) {
	t.Parallel()
	c := played(t)
	is := map[string]string{}
	for _, p := range c.players {
		is[p.id] = p.is
	}
	require.Equal(t, map[string]string{
		"shop-1": isServing, "shop-2": isStandby, "shop-3": isStarting, "shop-4": isDraining, "shop-5": isStopping, "shop-6": "crashed", "shop-7": isLost,
	}, is)
	require.Equal(t, []place{{"n1", ""}, {"n2", "drained"}, {"n3", "down"}, {"n4", "gone"}}, c.nodes)
	require.Equal(t, "1 serving (n1 1), 1 crashed, 1 draining, 1 lost, 1 stands by, 1 starting, 1 stopping; n2 is drained; n3 is down; n4 is gone", c.String())
	require.Equal(t, 1, c.serving())
	require.False(t, c.settled(1, 1), "others are there")
	_, there := c.player("shop-9")
	require.False(t, there)
}

func TestPicture(t *testing.T) {
	t.Parallel()
	p := picture{
		since: 31234 * time.Millisecond, act: "the load triples", cast: played(t), rate: 108, open: map[string]int{"shop-1": 40, "": 14},
		total: lab.Tally{Connections: 2345, Failed: 1, Broken: 2}, lately: lab.Tally{ByID: map[string]int{"shop-1": 150, "shop-4": 50}},
	}
	require.Equal(t, []string{
		"",
		"   31.2 s  the load triples",
		"   load      108 new connections/s, 40 open, 14 unanswered",
		"   replicas  1 serving, 3 wanted, 1 standing by",
		"   failures  1 failed, 2 broken, of 2345 connections",
		"   NODE         INSTANCE     IS          OPEN  SHARE",
		"   n1           shop-1       serving       40   75 %  #######################",
		"                shop-2       stands by      0    0 %",
		"                shop-3       starting       0    0 %",
		"                shop-4       draining       0   25 %  ########",
		"                shop-5       stopping       0    0 %",
		"                shop-6       crashed        0    0 %",
		"   n2 drained   -",
		"   n3 down      shop-7       lost           0    0 %",
		"   n4 gone      -",
	}, p.lines())
}

// screen obeys what a show writes, as a terminal does.
type screen struct {
	lines []string
	at    int
}

func (s *screen) Write(p []byte) (int, error) {
	text := string(p)
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexAny(text, "AJ")
			n := 0
			for _, digit := range text[2:end] {
				n = 10*n + int(digit-'0')
			}
			if text[end] == 'A' {
				s.at -= n
			} else {
				s.lines = s.lines[:s.at]
			}
			text = text[end+1:]
		case text[0] == '\r':
			text = text[1:]
		default:
			line, rest, _ := strings.Cut(text, "\n")
			s.lines = append(s.lines[:s.at], line)
			s.at, text = s.at+1, rest
		}
	}
	return len(p), nil
}

func TestShowOnATerminal(t *testing.T) {
	t.Parallel()
	var seen screen
	height := 24
	s := &show{t: &Terminal{Out: &seen, Size: func() (int, int) { return 10, height }}}
	s.say("one")
	s.draw([]string{"a picture", "of two"})
	require.Equal(t, []string{"one", "a picture", "of two"}, seen.lines)
	s.say("two\n\x1b[2Jhidden and long")
	require.Equal(t, []string{"one", "two", `\x1b[2Jhidden and long`, "a picture", "of two"}, seen.lines)
	s.draw([]string{"smaller, but wide"})
	require.Equal(t, []string{"one", "two", `\x1b[2Jhidden and long`, "smaller, ~"}, seen.lines)
	height = 3
	s.draw([]string{"1", "2", "3", "4"})
	require.Equal(t, []string{"one", "two", `\x1b[2Jhidden and long`, "1", "2"}, seen.lines, "what scrolls away cannot be taken off again")
	s.draw(nil)
	s.say("end")
	require.Equal(t, []string{"one", "two", `\x1b[2Jhidden and long`, "end"}, seen.lines)
}

func TestTyped(t *testing.T) {
	t.Parallel()
	require.Equal(t, `node drain n2 --reason "a new disk"`, typed([]string{"node", "drain", "n2", "--reason", "a new disk"}))
}

func TestShowElsewhere(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &show{out: &out, began: time.Unix(100, 0)}
	s.say("one")
	s.draw([]string{"a picture"})
	s.at(time.Unix(112, 0), "%d serve", 2)
	require.Equal(t, "one\n   12.0 s  2 serve\n", out.String())

	out.Reset()
	var all sync.WaitGroup
	for range 4 { // what is decided, what changes and what is done are told by different goroutines
		all.Go(func() {
			for range 100 {
				s.say("a line")
			}
		})
	}
	all.Wait()
	require.Equal(t, strings.Repeat("a line\n", 400), out.String())
}

func TestBrokenPromises(t *testing.T) {
	t.Parallel()
	good := lab.Tally{Connections: 100}
	bad := lab.Tally{Connections: 100, Failed: 2, Broken: 1, Reasons: map[string]int{"refused": 2, "reset": 1}}
	r := &ScaleReport{Acts: []Act{
		{Title: "well", TookS: 1, WithinS: 2, Tally: good},
		{Title: "spared", May: "it has to", TookS: 1, WithinS: 2, Tally: bad},
	}}
	require.Empty(t, r.Broken())
	require.Contains(t, r.String(), "Where none may fail: 0 of 100 connections failed, 0 broke.\nWhere some have to:  2 of 100 connections failed, 1 broke.\n  3 as spared: it has to")
	r.Acts = append(r.Acts,
		Act{Title: "strict", Tally: bad},
		Act{Title: "late", TookS: 3, WithinS: 2, Tally: good},
		Act{Title: "few", Also: "only 1 of 2 served", Tally: good},
	)
	require.Equal(t, []string{
		"strict: 3 of 100 connections failed or broke (refused 2, reset 1), where none may",
		"late: it took 3.0 s, and 2 s are promised",
		"few: only 1 of 2 served",
	}, r.Broken())
	require.Equal(t, "100 connections, 2 failed, 1 broken (refused 2, reset 1)", Act{Tally: bad}.counts())
}
