package check

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// reporting is a service whose instances report themselves.
func reporting(ttl time.Duration) *cluster.Service {
	return service("a", &cluster.Check{TTL: &cluster.TTLCheck{TTL: cluster.Duration(ttl)}, Rise: 2}, netip.MustParseAddrPort(host+":80"))
}

var (
	mine   = ID{"a", host + ":80"}
	mineAt = netip.MustParseAddrPort(host + ":80") // nobody listens there
)

func verdict(c *Checker) cluster.Verdict { return c.Health()["a"][mine.Instance].Verdict }

func TestWords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running(t, Options{}, world(reporting(time.Hour)).Snapshot(1))
		time.Sleep(time.Second)
		say := func(s State) { require.NoError(t, c.Tell(mine, Word{s, "why\n" + string(s)})) }
		say(Fail)
		h := c.Health()["a"][mine.Instance]
		require.Equal(t, cluster.Health{Verdict: cluster.Failing, Reason: "it says so itself", Output: "why fail", Since: h.Since}, h)
		select {
		case <-c.Changed():
		default:
			t.Fatal("a change is told")
		}
		say(OK)
		require.Empty(t, verdict(c))
		say(Leave)
		h = c.Health()["a"][mine.Instance]
		require.Equal(t, cluster.Health{Verdict: cluster.Leaving, Reason: "it asks for no new connections itself", Output: "why leave", Since: h.Since}, h)
		say(OK)
		require.Equal(t, cluster.Leaving, verdict(c), "well is not back")
		say(Back)
		time.Sleep(10 * time.Second) // the second fall is held
		require.Empty(t, verdict(c))
		require.ErrorContains(t, c.Tell(mine, Word{State: "what\n"}), `state "what" is unknown`)
		require.ErrorIs(t, c.Tell(ID{"a", "other"}, Word{State: OK}), ErrUnknown)
	})
}

// Who wishes for nothing leaves until it wishes for more, beside what it says in words; and no longer than it is asked.
func TestWishForNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := reporting(time.Hour)
		asked.Load = &cluster.LoadSource{Agent: 7777}
		d := world(asked)
		c := running(t, Options{}, d.Snapshot(1))
		wish := func(part float64) { require.NoError(t, c.Wish(mine, part)) }
		wish(0)
		h := c.Health()["a"][mine.Instance]
		require.Equal(t, cluster.Health{Verdict: cluster.Leaving, Reason: "it wishes 0 % of its weight itself", Since: h.Since}, h)
		require.NoError(t, c.Tell(mine, Word{State: Back}))
		require.Equal(t, cluster.Leaving, verdict(c), "a word says nothing of the wish")
		wish(0.01)
		require.Empty(t, verdict(c))
		require.NoError(t, c.Tell(mine, Word{State: Leave}))
		wish(1)
		require.Equal(t, cluster.Leaving, verdict(c), "nor the wish of the word")
		require.NoError(t, c.Tell(mine, Word{State: Back}))
		wish(0)
		require.Equal(t, cluster.Leaving, verdict(c))

		d.Health("n1", c.Health())
		restarted := New(Options{Node: "n1"})
		restarted.Want(d.Snapshot(2))
		require.Equal(t, c.Health(), restarted.Health())
		require.NoError(t, restarted.Wish(mine, 1))
		require.Empty(t, restarted.Health())

		unasked := reporting(time.Hour)
		d.Service("a", unasked)
		c.Want(d.Snapshot(9))
		time.Sleep(time.Minute) // what is better is held
		synctest.Wait()
		require.Empty(t, verdict(c))
		require.ErrorIs(t, c.Wish(ID{"a", "other"}, 0), ErrUnknown)
	})
}

// What runs on another node cannot have said this here.
func TestOnlyOwnInstancesAreHeard(t *testing.T) {
	t.Parallel()
	foreign := netip.MustParseAddrPort("192.168.70.9:80")
	c := New(Options{Node: "n1"})
	c.Want(world(service("a", tcp(), foreign)).Snapshot(1))
	id := ID{"a", foreign.String()}
	require.Contains(t, c.Results(), id, "it is checked from here")
	require.ErrorIs(t, c.Tell(id, Word{State: Leave}), ErrUnknown)
}

func TestSilenceIsFailing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := running(t, Options{}, world(reporting(30*time.Second)).Snapshot(1))
		time.Sleep(29 * time.Second)
		require.Empty(t, verdict(c))
		time.Sleep(2 * time.Second)
		h := c.Health()["a"][mine.Instance]
		require.Equal(t, cluster.Failing, h.Verdict)
		require.Equal(t, h.Since, h.Began, "of silence there is one moment")
		require.Equal(t, "it was silent for longer than 30s", h.Reason)
		require.NoError(t, c.Tell(mine, Word{State: OK}))
		require.Equal(t, cluster.Failing, verdict(c), "rise is two")
		require.NoError(t, c.Tell(mine, Word{State: OK}))
		require.Empty(t, verdict(c))
		for range 10 {
			time.Sleep(25 * time.Second)
			require.NoError(t, c.Tell(mine, Word{State: OK}))
			require.Empty(t, verdict(c))
		}
	})
}

// A new instance may start within its grace.
func TestGraceOfSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := world()
		c := running(t, Options{}, d.Snapshot(1))
		s := reporting(10 * time.Second)
		s.Check.Grace = cluster.Duration(time.Minute)
		d.Service("a", s)
		c.Want(d.Snapshot(2))
		time.Sleep(59 * time.Second)
		require.Empty(t, verdict(c))
		time.Sleep(2 * time.Second)
		require.Equal(t, cluster.Failing, verdict(c))
	})
}

// What was said outlives the monitor's restart, and each source ends what it began.
func TestWordsOutliveARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, w := range []struct{ say, end State }{{Leave, Back}, {Fail, OK}} {
			d := world(reporting(time.Hour))
			before := New(Options{Node: "n1"})
			before.Want(d.Snapshot(1))
			require.NoError(t, before.Tell(mine, Word{State: w.say, Output: "x"}))
			d.Health("n1", before.Health())
			c := New(Options{Node: "n1"})
			c.Want(d.Snapshot(2))
			require.Equal(t, before.Health(), c.Health())
			require.NoError(t, c.Tell(mine, Word{State: w.end}))
			require.Empty(t, c.Health())
		}
	})
}

func TestReports(t *testing.T) {
	t.Parallel()
	c := New(Options{Node: "n1"})
	c.Want(world(reporting(time.Hour)).Snapshot(1))
	h := Reports(c)
	path := ReportPath + "a/" + mine.Instance
	tests := []struct {
		name, method, path, body, from, host, kind string
		want                                       int
		says                                       string
	}{
		{"leave", "POST", path, `{"state":"leave","output":"x"}`, "127.0.0.1:5000", "127.0.0.1:9645", "application/json", 204, ""},
		{"mapped", "POST", path, `{"state":"back"}`, "[::ffff:127.0.0.1]:5000", "localhost:9645", "application/json; charset=utf-8", 204, ""},
		{"IPv6", "POST", path, `{"state":"ok"}`, "[::1]:5000", "[::1]:9645", "application/json", 204, ""},
		{"another host", "POST", path, `{"state":"leave"}`, "192.168.70.2:5000", "127.0.0.1:9645", "application/json", 403, "only instances of this host"},
		{"a name that was bent to loopback", "POST", path, `{"state":"leave"}`, "127.0.0.1:5000", "evil.example:9645", "application/json", 403, "only instances of this host"},
		{"a form of a web page", "POST", path, `{"state":"leave"}`, "127.0.0.1:5000", "127.0.0.1:9645", "text/plain", 415, "Content-Type"},
		{"GET", "GET", path, ``, "127.0.0.1:5000", "127.0.0.1:9645", "application/json", 405, ""},
		{"unknown instance", "POST", ReportPath + "a/b", `{"state":"ok"}`, "127.0.0.1:5000", "127.0.0.1:9645", "application/json", 404, `"b" of service "a": it does not run on this node: "weir get instances -o wide" shows ids and nodes`},
		{"unknown state", "POST", path, `{"state":"fine"}`, "127.0.0.1:5000", "127.0.0.1:9645", "application/json", 400, "say ok, fail, leave or back"},
		{"no JSON", "POST", path, `state=ok`, "127.0.0.1:5000", "127.0.0.1:9645", "application/json", 400, `the report cannot be read: it is no JSON from byte 1 on: "state=ok"`},
		{"a flood", "POST", path, `{"output":"` + strings.Repeat("x", 1<<20), "127.0.0.1:5000", "127.0.0.1:9645", "application/json", 413, "read the report"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, test.path, strings.NewReader(test.body))
			r.RemoteAddr, r.Host = test.from, test.host
			r.Header.Set("Content-Type", test.kind)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, test.want, w.Code, w.Body)
			require.Contains(t, w.Body.String(), test.says)
			if w.Code == http.StatusNoContent && test.name == "leave" {
				require.Equal(t, cluster.Leaving, verdict(c))
			} else {
				require.Empty(t, verdict(c), "what is refused changes nothing")
			}
		})
	}
}
