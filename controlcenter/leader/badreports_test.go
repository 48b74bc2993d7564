package leader_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/monitor"
)

// answering is a node's load monitor as the network sees it.
type answering struct {
	*httptest.Server
	mu     sync.Mutex
	answer http.HandlerFunc
	token  string // that it was last asked with
}

func monitorOf(t testing.TB) *answering {
	t.Helper()
	a := &answering{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		answer := a.answer
		a.token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		a.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(func() { a.CloseClientConnections(); a.Close() })
	return a
}

func (a *answering) set(answer http.HandlerFunc) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = answer
}

func (a *answering) askedWith() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.token
}

// reporting answers with a report, which an edit may spoil.
func reporting(node string, edit func(*loadmon.Report), loads ...loadmon.Load) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		r, _ := says(node, append([]loadmon.Load{}, loads...)...)()
		if edit != nil {
			edit(&r)
		}
		_ = json.NewEncoder(w).Encode(r)
	}
}

// written answers with a text; AT and UP in it are those of a good report.
func written(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		r, _ := says("n3")()
		at, _ := json.Marshal(r.At)
		_, _ = io.WriteString(w, strings.NewReplacer("AT", string(at), "UP", fmt.Sprint(r.UptimeS)).Replace(text))
	}
}

func wishing(node string, i int, wish float64) http.HandlerFunc {
	return reporting(node, nil, loadmon.Load{Service: "a", Instance: id(i), Busy: 0.3, Wish: &wish})
}

// figures is a report of n3 with these words in its only load.
func figures(words string) http.HandlerFunc {
	return written(`{"node":"n3","at":AT,"uptime_s":UP,"loads":[{"service":"a","instance":"` + id(3) + `",` + words + `}]}`)
}

var badReports = []struct {
	name    string
	answer  http.HandlerFunc
	problem string
}{
	{"busy is negative", figures(`"busy":-1,"wish":0.1`), "busy -1 is outside 0..1; the last good figures stay"},
	{"busy is beyond all bounds", figures(`"busy":1e308,"wish":0.1`), "busy 1e+308 is outside 0..1"},
	{"busy is no number", figures(`"busy":NaN,"wish":0.1`), "node n3: its load monitor gives no report"},
	{"busy is a text", figures(`"busy":"NaN","wish":0.1`), "it cannot be read"},
	{"a number that no float holds", figures(`"busy":1e999,"wish":0.1`), "it cannot be read"},
	{"the counter is negative", figures(`"connections":-5,"wish":0.1`), "it cannot be read"},
	{"the wish is negative", figures(`"busy":0.3,"wish":-0.1`), "a wish for -0.1 of its weight is outside 0..256"},
	{"the wish is beyond all bounds", figures(`"busy":0.3,"wish":1e308`), "a wish for 1e+308 of its weight is outside"},
	{"the latency is beyond all bounds", figures(`"latency_ms":1e300,"wish":0.1`), "a latency of 1e+300 ms cannot be"},
	{"from the future", reporting("n3", func(r *loadmon.Report) { r.At = r.At.Add(time.Hour) }, bad), "its figures are 1h0m0s from the future"},
	{"from the past", reporting("n3", func(r *loadmon.Report) { r.At = r.At.Add(-time.Hour) }, bad), "its figures are 1h0m0s old and do not count: set the clocks"},
	{"up since before the world", reporting("n3", func(r *loadmon.Report) { r.UptimeS = 1e300 }, bad), "1e+300 s cannot be the time since its start"},
	{"by another name", reporting("n9", nil, bad), `its load monitor reports for node "n9"`},
	{"for another's instance", reporting("n3", nil, loadmon.Load{Service: "a", Instance: id(1), Wish: part(0.01)}), `"192.168.0.1:80" of service "a" does not run on this node`},
	{"twice", reporting("n3", nil, loadmon.Load{Service: "a", Instance: id(3), Wish: part(0.5)}, bad), "is reported twice: the first counts"},
	{"no report", written("<html>"), "its load monitor gives no report, so its instances keep their weights"},
	{"nothing", written(""), "its load monitor gives no report"},
	{"refused", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no \x1b[2J\n"+strings.Repeat("x", 1<<20), http.StatusUnauthorized)
	}, "401 Unauthorized"},
	{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.168.0.1/", http.StatusFound)
	}, "302 Found"},
	{"without an end", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"node":"n3","loads":[`)
		for space := bytes.Repeat([]byte(" "), 1<<20); ; {
			if _, err := w.Write(space); err != nil {
				return
			}
		}
	}, "its load monitor gives no report"},
	{"a bomb", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb())
	}, "its load monitor gives no report"},
	{"never", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "its load monitor gives no report"},
	{"a byte at a time", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			w.(http.Flusher).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	}, "its load monitor gives no report"},
	{"cut off", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, `{"node":"n3"`)
	}, "its load monitor gives no report"},
}

// bomb is 8 MiB of nothing, in some KiB.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = z.Write(make([]byte, 8<<20))
	_ = z.Close()
	return b.Bytes()
})

func part(p float64) *float64 { return &p }

// bad is what none of these reports may bring about.
var bad = loadmon.Load{Service: "a", Instance: id(3), Wish: part(0.01)}

// Whatever one node's monitor answers: its instance keeps what it last said with reason, the others are obeyed as ever, and
// the problem is shown.
func TestBadReports(t *testing.T) {
	t.Parallel()
	endpoint := server(t)
	for i, test := range badReports {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{endpoint}, Prefix: fmt.Sprintf("/test%d/", i)})
			require.NoError(t, err)
			defer s.Close()
			badReport(t, real{s}, test.answer, test.problem)
		})
	}
}

func badReport(t *testing.T, s real, answer http.HandlerFunc, problem string) {
	t.Helper()
	static := service("a", 3)
	static.Balance, static.Load = cluster.BalanceStatic, &cluster.LoadSource{Agent: 8081}
	published(t, s, static)
	monitors := map[int]*answering{}
	for i := range 3 {
		node := fmt.Sprintf("n%d", i+1)
		monitors[i+1] = monitorOf(t)
		monitors[i+1].set(wishing(node, i+1, 1))
		require.NoError(t, s.Join(t.Context(), node, &cluster.Node{Addresses: []netip.Addr{static.Instances[i].Addr}, Monitor: monitors[i+1].URL}))
	}
	client := &monitor.Client{Client: door.Client{Token: s.Secret, Loopback: true}}
	defer client.Close()
	registry := prometheus.NewRegistry()
	l, _ := lead(t, leader.Config{Store: s, Loads: client, Interval: 5 * round, Metrics: leader.NewMetrics(registry)})
	shares := func(want ...int) func() bool {
		return func() bool {
			w := inputs(t, s, "a").Weights
			for i := range want {
				if w == nil || w.Share[id(i+1)]/1000 != want[i] {
					return false
				}
			}
			return true
		}
	}
	monitors[3].set(wishing("n3", 3, 0.5))
	eventually(t, "the good wish is obeyed", shares(400, 400, 200))
	token, err := s.Secret(t.Context())
	require.NoError(t, err)
	require.Equal(t, token, monitors[3].askedWith())

	monitors[3].set(answer)
	eventually(t, problem, func() bool { return strings.Contains(page(t, l.WriteProblems), problem) })
	require.NotContains(t, page(t, l.WriteProblems), "\x1b")
	monitors[1].set(wishing("n1", 1, 0.5))
	eventually(t, "the others are obeyed", shares(250, 500, 250))
	eventually(t, "the problem stays", func() bool {
		return strings.Contains(page(t, l.WriteProblems), problem) && gauge(t, registry, "weir_leader_problems") > 0
	})

	monitors[3].set(wishing("n3", 3, 1))
	eventually(t, "good again", shares(200, 400, 400))
	eventually(t, "no problem any more", func() bool {
		return page(t, l.WriteProblems) == "" && gauge(t, registry, "weir_leader_problems") == 0
	})
}

func gauge(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no metric " + name)
	return 0
}

// A node that goes without a word, and whose record goes too: its instance keeps its weight, the rest lives on.
func TestANodeThatVanishes(t *testing.T) {
	t.Parallel()
	s := open(t, server(t))
	static := service("a", 2)
	static.Balance, static.Load = cluster.BalanceStatic, &cluster.LoadSource{Agent: 8081}
	published(t, s, static)
	n := &nodes{}
	n.set("n1", says("n1", loadmon.Load{Service: "a", Instance: id(1), Wish: part(0.5)}))
	n.set("n2", says("n2", loadmon.Load{Service: "a", Instance: id(2)}))
	l, _ := lead(t, leader.Config{Store: s, Loads: n})
	stored := func() map[string]int {
		if w := inputs(t, s, "a").Weights; w != nil {
			return w.Share
		}
		return nil
	}
	eventually(t, "weights", func() bool { return stored()[id(1)] == 333_333 })
	n.set("n1", nil)
	eventually(t, "a problem", func() bool {
		return strings.Contains(page(t, l.WriteProblems), "node n1: its load monitor gives no report, so its instances keep their weights: connection refused: see that it runs there")
	})
	_, err := s.Commit(t.Context(), cluster.ForgetNode{Node: "n1", Alive: true})
	require.NoError(t, err)
	eventually(t, "nobody asks for it", func() bool { return page(t, l.WriteProblems) == "" })
	n.set("n2", says("n2", loadmon.Load{Service: "a", Instance: id(2), Wish: part(0.25)}))
	eventually(t, "the other is obeyed", func() bool { return stored()[id(1)] == 666_667 })
	require.NoError(t, s.Join(t.Context(), "n3", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.0.1")}}))
	eventually(t, "a node without a monitor", func() bool {
		return strings.Contains(page(t, l.WriteProblems), "node n3: it tells no load monitor, so its instances keep their weights")
	})
}
