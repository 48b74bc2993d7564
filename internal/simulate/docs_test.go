package simulate

import (
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

var update = flag.Bool("update", false, "write docs/balancing.md and its plots anew")

const docs = "../../docs"

// TestDocs keeps docs/balancing.md and its plots equal to what the simulator says. "make docs-balancing" writes them anew.
func TestDocs(t *testing.T) {
	t.Parallel()
	for name, text := range pages() {
		if strings.HasSuffix(name, ".svg") {
			require.NoError(t, xml.Unmarshal([]byte(text), new(struct{})), name)
		}
		path := filepath.Join(docs, name)
		if *update {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		if runtime.GOARCH == "amd64" { // elsewhere the last bit of a float may differ, and chance takes another way
			require.Equal(t, string(want), text, "the simulator says otherwise than docs/%s: run make docs-balancing, and read the difference", name)
		}
	}
}

func TestPlotEscapes(t *testing.T) {
	t.Parallel()
	p := plot{title: "a < b & c", x1: 1, y1: 1, xStep: 1, yStep: 1, lines: []line{{name: "<x>", x: []float64{0, 1, 9}, y: []float64{0, 5, 0}, colour: "red"}}}
	require.Contains(t, p.svg(), "a &lt; b &amp; c")
	require.Contains(t, p.svg(), "&lt;x&gt;")
	require.Contains(t, p.svg(), `points="52.0,230.0 630.0,34.0"`, "what is outside is left out or cut")
}

func pages() map[string]string {
	even, noisy := Default(), Default()
	noisy.Length, noisy.Neighbour = 5*time.Minute, Neighbour{Instance: 1, At: time.Minute, For: 2 * time.Minute, Leaves: 0.5}
	adaptive, disturbed := ran(even, cluster.BalanceAdaptive), Compare(noisy)
	shares := plot{title: "shares of new connections, adaptive, from equal ones", xUnit: "seconds", yUnit: "%", x1: 180, y1: 60, xStep: 30, yStep: 20}
	for i, speed := range even.Speeds {
		l := line{name: fmt.Sprintf("speed %g", speed), colour: colours[i]}
		for _, p := range adaptive.Points {
			l.x, l.y = append(l.x, p.At+even.Warmup.Seconds()), append(l.y, 100*p.Shares[i])
		}
		true := line{name: "its true share", colour: colours[i], dashed: true, x: []float64{0, 180}, y: []float64{speed / 2.2 * 100, speed / 2.2 * 100}}
		shares.lines = append(shares.lines, l, true)
	}
	out := map[string]string{"img/balancing-shares.svg": shares.svg()}
	for k, policy := range Policies {
		busy := plot{title: fmt.Sprintf("busy, %s; from 60 s to 180 s a neighbour takes half of instance 1's processor", policy), xUnit: "seconds", yUnit: "%", x1: 300, y1: 100, xStep: 60, yStep: 25}
		for i, speed := range noisy.Speeds {
			l := line{name: fmt.Sprintf("%d, speed %g", i+1, speed), colour: colours[i]}
			for _, p := range disturbed[k].Points {
				if p.At >= 0 {
					l.x, l.y = append(l.x, p.At), append(l.y, 100*p.Busy[i])
				}
			}
			busy.lines = append(busy.lines, l)
		}
		out["img/balancing-neighbour-"+string(policy)+".svg"] = busy.svg()
	}
	out["balancing.md"] = fmt.Sprintf(form, table(compared(even)), table(disturbed), conditions())
	return out
}

func table(outcomes []Outcome) string {
	var b strings.Builder
	b.WriteString("| policy | p50 | p99 | busiest instance by the mean | writes in the measured time |\n|---|---|---|---|---|\n")
	for _, o := range outcomes {
		fmt.Fprintf(&b, "| %s | %.1f ms | %.0f ms | %.2f | %d |\n", o.Name, o.P50MS, o.P99MS, o.BusyMaxMean, o.Writes)
	}
	return strings.TrimSpace(b.String())
}

func conditions() string {
	var b strings.Builder
	b.WriteString("| what is different | p99 uniform | static | adaptive | busiest by the mean: uniform | static | adaptive | writes |\n|---|---|---|---|---|---|---|---|\n")
	for _, c := range []struct {
		name   string
		change func(*Scenario)
	}{
		{"nothing", func(*Scenario) {}},
		{"`--load 0.2`", func(s *Scenario) { s.Load = 0.2 }},
		{"`--load 0.85`", func(s *Scenario) { s.Load = 0.85 }},
		{"`--keep-alive 30s`", func(s *Scenario) { s.KeepAlive = 30 * time.Second }},
		{"`--lost 0.33`", func(s *Scenario) { s.Lost = 0.33 }},
		{"`--work 50ms`", func(s *Scenario) { s.Work = 50 * time.Millisecond }},
		{"`--speeds 1,1,1`", func(s *Scenario) { s.Speeds = []float64{1, 1, 1} }},
		{"`--speeds 1,0.5`", func(s *Scenario) { s.Speeds = []float64{1, 0.5} }},
		{"twenty instances, speeds 1, 0.8, 0.6, 0.4, `--work 20ms`", func(s *Scenario) { s.Speeds, s.Work = twenty(), 20*time.Millisecond }},
	} {
		s := Default()
		c.change(&s)
		o := compared(s)
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %.2f | %.2f | %.2f | %d |\n", c.name, late(o[0]), late(o[1]), late(o[2]), o[0].BusyMaxMean, o[1].BusyMaxMean, o[2].BusyMaxMean, o[2].Writes)
	}
	return strings.TrimSpace(b.String())
}

func late(o Outcome) string {
	if o.P99MS >= 10_000 {
		return fmt.Sprintf("%.0f s", o.P99MS/1000)
	}
	return fmt.Sprintf("%.0f ms", o.P99MS)
}

const form = `# Balancing

This page is made by the simulator (` + "`make docs-balancing`" + `), and a test compares the two. ` + "`weir simulate`" + ` prints the same figures for any
service that you describe to it.

| ` + "`balance`" + ` | new connections go |
|---|---|
| ` + "`uniform`" + ` | to every instance alike |
| ` + "`static`" + ` | by the weights of the service file |
| ` + "`adaptive`" + ` | by what each instance can take, as far as its load shows |

Each node's load monitor measures the instances on that node. The control center that leads (` + "`weir controlcenter serve`" + `) asks them
every 5 seconds, decides by the law below, and writes the weights of a service when they have moved. Without a leader, or after
` + "`weir pause`" + `, weights stay as they are; before the first decision ` + "`adaptive`" + ` means the file's weights. ` + "`weir events`" + ` tells of every
decision with its numbers. How real instances fare by it: [at the end](#real-instances).

## The law

Every 5 seconds, for each service:

| | |
|---|---|
| busy | part of the time in which the instance worked or wanted to: CPU usage and pressure, 0.02 to 1. Usage alone is blind to a neighbour on the same processor |
| capacity | connections that ended / (busy + failed part), a mean over up to ten minutes that starts anew when a change is beyond chance. Where connections live for more than 10 s: open connections / (busy + failed part) |
| common | what moves most instances alike, as heavier requests do, is taken out: it says nothing about who can take more |
| target | the capacity's part of the whole. An instance without figures keeps its weight |
| weight | the target; at most 25 %% away from the weight before; as before while 3 %% or 2.5 standard errors (1.2 while fewer than 12 samples are known) would explain the difference |
| share | the weight, times the slow start of a new instance (age / 30 s, at least 0.1); figures of its first 10 s do not count |
| write | when a share has moved by half a point or a tenth of itself, whichever is less |
| frozen | nothing moves while more than half of the instances have no figures of the last 15 s |
| soft limit | 100 ms: an instance that keeps missing it, three times slower than its fellows though not busy, slowly loses up to three quarters |
| hard limit | 1 s, three times in a row, twelve while it is busy, and three times slower than its fellows: ejected, if the others have room for what it does |
| ejected | after five failures in a row too: for 30 s times the number of ejections, at most 300 s; at most a third, never the last; none while those of more than half fail |

A report that cannot be true (no number, negative, from the future, a counter that fell) is told of and not used; the last good
figures stay. Why the law has this form: [decision 030](decisions/030-weights-law.md).

## Unequal instances

Speeds 1, 0.7 and 0.5, 60 %% of what they can take together, requests of 5 ms at speed 1, exponentially distributed. Ten minutes after
a minute of warm-up: ` + "`weir simulate`" + `.

%s

![shares](img/balancing-shares.svg)

## A noisy neighbour

The same, and from 60 s to 180 s another program takes half of instance 1's processor:
` + "`weir simulate --for 5m --neighbour 1 --neighbour-at 1m --neighbour-for 2m`" + `.

%s

` + "`static`" + ` has the weights that were true before. The p99 of ` + "`adaptive`" + ` is that of the five to ten seconds until a report has shown
the neighbour, and of the queue that grew meanwhile; ` + "`uniform`" + ` happens to suit these three with the neighbour.

![uniform](img/balancing-neighbour-uniform.svg)
![static](img/balancing-neighbour-static.svg)
![adaptive](img/balancing-neighbour-adaptive.svg)

## Other conditions

Each row is ` + "`weir simulate`" + ` with these flags. Where an instance gets more than it can take, its queue grows to the end, and p99 says no
more than that.

%s

## How far to trust it

- An instance is one queue, first come first served, without a limit; nobody gives up. Real services shed load, and have several
  workers: their tails are shorter.
- busy is the true one with an error of 1 %% in the usage and 5 %% in the pressure, and 1 %% of housekeeping. Real
  cgroups are coarser.
- Every request of a service costs the same on average. Where some clients' connections cost far more than others', a capacity
  takes longer to show.
- One seed is one run. ` + "`make balance`" + ` runs a thousand: with ` + "`--keep-alive 30s`" + ` 4 of them settle later than 60 s, the last after 10m20s; with a
  neighbour 1 exceeds 1.10 for its busiest instance by the mean in the 30 s that follow the first 30 (1.121).
  [Decision 030](decisions/030-weights-law.md) has what came out.
- The slots are those that ` + "`rules.Build`" + ` gives a node, so rounding is included.

## Real instances

` + "`make bench-balance`" + ` measures the same on this machine's kernel: four nodes in network namespaces, each with an agent, its load monitor and
one instance; a control center that leads; an etcd. The instances are processes with 30, 20, 10 and 10 %% of a processor (quotas of
control groups), and each connection costs 2 ms of it. A client on a fifth node opens connections by a Poisson process at 55 %% of
what the four can do together, 192 a second, the same ones for each policy, whatever became of those before; what it waits is
counted from the moment at which a connection is due. ` + "`static`" + `, which has the true weights, and ` + "`adaptive`" + ` are measured at the same
time, each with instances of its own. After a minute of warm-up, in which ` + "`adaptive`" + ` begins with equal weights, two and a half minutes
are measured; then another process takes all that is left of the second instance's quota, and a minute more is measured.
[Performance](performance.md#balancing-real-instances) has the figures.
`
