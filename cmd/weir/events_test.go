package main

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

func eventful() *fake {
	f := newFake()
	f.events = []cluster.Event{
		{Revision: 7, At: noon.Add(-time.Hour), Service: "a", What: cluster.EventWeights, Reason: "old", Cut: true},
		{Revision: 9, At: noon.Add(-time.Minute), Service: "b", What: cluster.EventWeights, Reason: "evil\x1b[2J\nrow", By: "cc1",
			In:  cluster.Figures{"192.0.2.2:80": {"rate": 12, "busy": 0.51234}, "192.0.2.1:80": {"busy": 1}},
			Out: cluster.Figures{"192.0.2.1:80": {"share": 3000}}},
	}
	return f
}

func TestEvents(t *testing.T) {
	t.Parallel()
	f := eventful()
	require.Equal(t, "AT                    SERVICE  WHAT     REASON\n"+
		"2026-01-02T11:00:00Z  a        weights  old\n"+
		"2026-01-02T11:59:00Z  b        weights  evil\\u001b[2J\\nrow\n", weir(t, f, "events").out)
	wide := weir(t, f, "events", "-o", "wide").out
	require.Contains(t, wide, "192.0.2.1:80 busy=1; 192.0.2.2:80 busy=0.5123 rate=12  192.0.2.1:80 share=3000\n")
	require.Contains(t, wide, "too many to keep")
	var got []cluster.Event
	r := weir(t, f, "events", "--since", "5m", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &got))
	require.Equal(t, f.events[1:2], got)
	require.Equal(t, "[]\n", weir(t, newFake(), "events", "-o", "json").out)
	for since, want := range map[string]int{"0": 2, "2026-01-02T11:30:00Z": 1, "2026-01-02T13:30:00+02:00": 1, "2026-01-02T11:00:00Z": 2, "2h": 2, "30s": 0} {
		require.NoError(t, json.Unmarshal([]byte(weir(t, f, "events", "--since", since, "-o", "json").out), &got))
		require.Len(t, got, want, since)
	}
	for _, args := range []string{"events a b", "events --since=yesterday", "events --since=2026-01-02", "events A/b", "events --since=-1s", "events -w -o yaml", "events -o name"} {
		r := weir(t, eventful(), strings.Fields(args)...)
		require.Equal(t, 2, r.code, args)
		require.Empty(t, r.out, args)
	}
	for _, args := range []string{"events", "events -w"} {
		f := newFake()
		f.denied = storetest.ErrUnreachable
		require.Equal(t, 5, weir(t, f, strings.Fields(args)...).code, args)
	}
}

func TestEventsOfAServiceThatIsNot(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Put(t, storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80"))
	require.Equal(t, "[]\n", weir(t, f, "events", "a", "-o", "json").out, "it is there, and nothing was decided")
	r := weir(t, f, "events", "ab")
	require.Equal(t, []any{1, ""}, []any{r.code, r.out})
	require.Contains(t, r.err, `service "ab" does not exist: there are a`)
	f.Fail(storetest.ErrUnreachable)
	require.Equal(t, 5, weir(t, f, "events", "ab").code)
}

func TestEventsAsTheyCome(t *testing.T) {
	t.Parallel()
	require.Equal(t, "2026-01-02T11:59:00Z  b  weights  evil\\u001b[2J\\nrow\n", weir(t, eventful(), "events", "-w", "--since", "5m").out)
	lines := strings.Split(strings.TrimSpace(weir(t, eventful(), "events", "-w", "-o", "json").out), "\n")
	require.Len(t, lines, 2)
	var got cluster.Event
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &got))
	require.Equal(t, eventful().events[1], got)
}

type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestEventsEndWithTheirReader(t *testing.T) {
	t.Parallel()
	a := newApp(strings.NewReader(""), gone{}, &strings.Builder{})
	o := &eventsOptions{app: a, output: outputFlag{format: "json"}}
	require.ErrorContains(t, o.follow(t.Context(), eventful()), "broken pipe")
}
