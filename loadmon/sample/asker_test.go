package sample

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/jump"
	"github.com/weir-lb/weir/loadmon"
)

// about is an asker that asks just these, and what it was told to tell.
func about(asks ...ask) (*Asker, func() []string) {
	var told []string
	a := NewAsker(AskerOptions{
		Node:   "n1",
		Told:   func(id ID, w Word) { told = append(told, fmt.Sprintf("%s %s %s", id.Instance, w.State, w.Reason)) },
		Wished: func(id ID, part float64) { told = append(told, fmt.Sprintf("%s wishes %g", id.Instance, part)) },
	})
	for _, k := range asks {
		a.services[k.Service] = append(a.services[k.Service], k)
	}
	return a, func() (out []string) {
		out, told = told, nil
		return out
	}
}

func own(a *Asker, now time.Time) string {
	loads := []loadmon.Load{{Service: "a", Instance: "x"}, {Service: "a", Instance: "nobody"}}
	a.Add(loads, now)
	out := "-"
	if u := loads[0].Utilization; u != nil {
		out = fmt.Sprintf("utilization %g", *u)
	}
	if w := loads[0].Wish; w != nil {
		out = fmt.Sprintf("wish %g", *w)
	}
	return out
}

// The last good answer counts for 15 seconds, whatever comes after it, and a Problem says why there is no newer one.
func TestLastGoodAnswerIsKept(t *testing.T) {
	t.Parallel()
	var answer atomic.Value
	answer.Store(`{"utilization": 0.6}`)
	a, _ := about(ask{ID{"a", "x"}, serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer.Load().(string)) }), "/load"})
	ask := func() {
		require.NoError(t, a.round(t.Context()))
	}
	require.Equal(t, "-", own(a, time.Now()))
	asked := time.Now()
	ask()
	require.Equal(t, "utilization 0.6", own(a, time.Now()))
	require.Empty(t, a.Problems())

	for _, bad := range []string{`{"utilization": 7}`, "\x1b[2J", "<html>", strings.Repeat(" ", 10_000)} {
		answer.Store(bad)
		ask()
		require.Contains(t, a.Problems()[0].What, "its utilization 7 is outside 0..1", "told once: the same trouble reads the same")
		require.Equal(t, "utilization 0.6", own(a, time.Now()), bad)
		problems := a.Problems()
		require.Len(t, problems, 1, bad)
		require.Equal(t, "service a", problems[0].Object)
		require.Contains(t, problems[0].What, "instance x does not tell its load: ")
		require.Contains(t, problems[0].What, "the last good figures stay")
		require.NotContains(t, problems[0].What, "\x1b")
	}
	require.Equal(t, "utilization 0.6", own(a, asked.Add(kept-1)))
	require.Equal(t, "-", own(a, time.Now().Add(kept)), "old figures do not count")

	answer.Store(`{"utilization": 0}`)
	ask()
	require.Equal(t, "utilization 0", own(a, time.Now()))
	require.Empty(t, a.Problems())
	require.Equal(t, map[ID]Questions{{"a", "x"}: {To: a.services["a"][0].address, Count: 6}}, a.Asked())
}

// The wall clock may jump by an hour: answers age by the one that does not.
func TestAnswersAndJumpsOfTheClock(t *testing.T) {
	t.Parallel()
	k := ask{ID{"a", "x"}, netip.MustParseAddrPort("127.0.0.1:1"), "/"}
	a, _ := about(k)
	now := time.Now()
	a.take(k, answer{utilization: new(0.5)}, nil, jump.Wall(now, 1))
	require.Equal(t, "utilization 0.5", own(a, now.Add(5*time.Second)))
	require.Equal(t, "utilization 0.5", own(a, jump.Wall(now.Add(5*time.Second), -1)))
	require.Equal(t, "-", own(a, jump.Wall(now.Add(kept), 1)))
}

// Words are told each time, in the order of HAProxy; a word that means nothing harms nothing else; what an agent does not
// speak of stays.
func TestWordsOfAnAgent(t *testing.T) {
	t.Parallel()
	var says atomic.Value
	says.Store("75%\n")
	a, told := about(ask{ID{"a", "x"}, agent(t, func(c net.Conn) { saying(says.Load().(string))(c) }), ""})
	ask := func(text string) []string {
		says.Store(text)
		require.NoError(t, a.round(t.Context()))
		return told()
	}
	require.Equal(t, []string{"x wishes 0.75"}, ask("75%\n"))
	require.Equal(t, "wish 0.75", own(a, time.Now()))
	require.Equal(t, []string{"x drain going", "x up going"}, ask("up drain # going\n"))
	require.Equal(t, []string{"x drain going", "x up going"}, ask("up drain # going\n"))
	require.Equal(t, "wish 0.75", own(a, time.Now()), "it did not say anything else")
	require.Equal(t, []string{"x wishes 0.5", "x down "}, ask("what down 50%\n"))
	require.Equal(t, "wish 0.5", own(a, time.Now()))
	require.Contains(t, a.Problems()[0].What, `the word "what" of its answer is not known`)
	require.Empty(t, ask("stopped # but no end"), "an answer that was cut off is none")
	require.Equal(t, "wish 0.5", own(a, time.Now()))
	require.Empty(t, a.Asked(), "an agent's connections are no clients'")
}

// What an agent said does not outlive its service's load: nobody could take it back otherwise.
func TestWordsAreTakenBack(t *testing.T) {
	t.Parallel()
	revision := int64(0)
	service := func(source *cluster.LoadSource) *cluster.Service {
		revision++
		return &cluster.Service{
			Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}, Load: source, CreateRevision: 1, ModRevision: revision,
			Instances: []cluster.Instance{{ID: "x", Addr: netip.MustParseAddr("192.168.1.1"), Port: 80, Weight: 1}},
		}
	}
	for said, want := range map[string][]string{
		"drain down\n":           {"x ready its agent is not asked any more", "x up its agent is not asked any more"},
		"maint up\n":             {"x ready its agent is not asked any more"},
		"ready up\n":             nil,
		"50% drain\n":            {"x ready its agent is not asked any more"},
		"stopped # for ever\r\n": {"x up its agent is not asked any more"},
	} {
		for _, next := range []*cluster.LoadSource{nil, {HTTP: "/load"}} {
			d := cluster.NewDraft()
			d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1")}})
			d.Service("a", service(&cluster.LoadSource{Agent: 7777}))
			a, told := about()
			a.Want(d.Snapshot(1))
			k := a.services["a"][0]
			spoken, err := parseAgent(said)
			require.NoError(t, err)
			a.take(k, answer{spoken: spoken}, nil, time.Now())
			require.NotEmpty(t, told())
			d.Service("a", service(&cluster.LoadSource{Agent: 7778}))
			a.Want(d.Snapshot(2))
			require.Empty(t, told(), "another port is the same agent")
			require.Equal(t, "-", own(a, time.Now()), "its figures are asked anew")

			d.Service("a", service(next))
			a.Want(d.Snapshot(3))
			require.Equal(t, want, told(), said)
			a.take(k, answer{spoken: spoken}, nil, time.Now())
			require.Empty(t, told(), "an answer that was under way comes too late")
			require.Empty(t, a.answers)
		}
	}
}

// However many instances do not answer, no more than atOnce are asked at the same time, and asking ends with its context.
func TestAskingIsBounded(t *testing.T) {
	t.Parallel()
	var now, most, all atomic.Int32
	gathered := make(chan struct{}) // when as many are asked as may be
	address := agent(t, func(c net.Conn) {
		n := now.Add(1)
		defer now.Add(-1)
		for before := most.Load(); n > before && !most.CompareAndSwap(before, n); before = most.Load() {
		}
		switch first := all.Add(1); {
		case first == atOnce:
			close(gathered)
		case first < atOnce:
			<-gathered
		}
	})
	var asks []ask
	for i := range 3 * atOnce {
		asks = append(asks, ask{ID{"a", fmt.Sprint(i)}, address, ""})
	}
	a, _ := about(asks...)
	a.o.Interval = time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { require.NoError(t, a.Run(ctx)) })
	require.Eventually(t, func() bool {
		return len(a.Problems()) > maxProblems && a.Problems()[maxProblems].What == "142 more instances do not tell their load"
	},
		20*time.Second, 10*time.Millisecond)
	require.Equal(t, int32(atOnce), most.Load())
	stop()
	done.Wait()
	a.take(asks[0], answer{}, errors.New("\x00"), time.Now().Add(steady))
	require.Contains(t, a.Problems()[0].What, `\x00`)
}
