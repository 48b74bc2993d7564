package nft

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/rules"
)

// watching starts Watch and returns once it hears. Each poke makes a chain in our ip6 table and deletes it again.
func watching(t *testing.T, d *Driver, ns int) (events chan rules.Foreign, stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	events, done := make(chan rules.Foreign, 1000), make(chan error, 1)
	go func() { done <- d.Watch(ctx, func(f rules.Foreign) { events <- f }) }()
	for deadline := time.Now().Add(20 * time.Second); len(events) == 0; {
		require.True(t, time.Now().Before(deadline), "Watch never hears")
		nft(t, ns, "add chain ip6 weir poke; delete chain ip6 weir poke")
	}
	nft(t, ns, "add set ip6 weir last { type mark; }; delete set ip6 weir last")
	for event := range events {
		if strings.Contains(event.What, "set made") {
			break
		}
	}
	return events, func() {
		cancel()
		require.NoError(t, <-done, "ended by its context, Watch returns nil")
	}
}

func next(t *testing.T, events chan rules.Foreign) rules.Foreign {
	select {
	case event := <-events:
		return event
	case <-time.After(20 * time.Second):
		require.Fail(t, "no event")
	}
	return rules.Foreign{}
}

// Watch tells what was touched and who did it, and of nothing but our tables.
func TestWatch(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	nft(t, ns, stranger)
	d := open(t, ns, OwnOff)
	install(t, d, story())
	events, stop := watching(t, d, ns)
	defer stop()
	who := regexp.MustCompile(`^nft \(pid [1-9]\d*\)$`)
	for _, c := range []struct{ script, what string }{
		{"add rule ip weir dispatch accept", "table ip weir: rule made"},
		{"flush chain ip weir dispatch", "table ip weir: rule deleted"},
		{"add element ip weir services { 1.1.1.1 . tcp . 80 : drop }", "table ip weir: element made"},
		{"delete element ip weir services { 1.1.1.1 . tcp . 80 }", "table ip weir: element deleted"},
		{"add chain ip6 weir theirs; delete chain ip6 weir theirs", "table ip6 weir: chain made and 1 more changes"},
		{"delete table ip6 weir", "table ip6 weir: "},
		{"flush ruleset", "table ip weir: "},
	} {
		// First what must not be told: another table, of the same name too, and a change that is none.
		nft(t, ns, "add chain ip stranger noise; delete chain ip stranger noise; add table inet weir; delete table inet weir")
		if strings.HasPrefix(c.script, "flush ruleset") {
			nft(t, ns, "delete table ip stranger")
		}
		nft(t, ns, c.script)
		event := next(t, events)
		require.Contains(t, event.What, c.what, c.script)
		require.Regexp(t, who, event.Who, c.script)
		if !strings.Contains(c.script, "flush ruleset") {
			nft(t, ns, "add table ip stranger")
		}
	}
}

func TestWatchIgnoresOurOwnWrites(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	d := open(t, ns, OwnOff)
	install(t, d, build(rules.Options{}))
	events, stop := watching(t, d, ns)
	defer stop()
	for i := range 20 {
		install(t, d, build(rules.Options{}, service("a", "10.10.1.1", 80, fmt.Sprintf("192.168.10.%d:80", i+1))))
	}
	nft(t, ns, "flush chain ip weir keep")
	require.Contains(t, next(t, events).What, "table ip weir: rule deleted", "the first that is heard is the foreign change")
}

// More notices than fit: Watch says that some were lost, and goes on. Then Read and Apply make all good.
func TestWatchSurvivesAnOverflow(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	d := open(t, ns, OwnOff)
	d.buffer = 1 << 16 // by itself it holds more than a test can fill
	want := story()
	install(t, d, want)
	ctx, cancel := context.WithCancel(t.Context())
	heard, resume, done := make(chan rules.Foreign, 100_000), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- d.Watch(ctx, func(f rules.Foreign) {
			heard <- f
			<-resume // a slow reader: the notices pile up meanwhile
		})
	}()
	for len(heard) == 0 {
		nft(t, ns, "add chain ip6 weir poke; delete chain ip6 weir poke")
	}
	var script strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&script, "add rule ip weir other ip saddr 10.0.%d.%d counter drop\n", i/250, i%250)
	}
	nft(t, ns, script.String())
	close(resume)
	lost := false
	for !lost {
		lost = next(t, heard).What == "notices were lost"
	}
	state := read(t, d)
	require.NotEmpty(t, state.Damage)
	require.NoError(t, d.Apply(t.Context(), rules.Diff(state, want)))
	state = read(t, d)
	require.Empty(t, state.Damage)
	require.Empty(t, rules.Diff(state, want).String())

	// The first of these may be told together with the rest of what was lost.
	for what := ""; what != "table ip6 weir: set made and 1 more changes"; what = next(t, heard).What {
		nft(t, ns, "add set ip6 weir after { type mark; }; delete set ip6 weir after")
	}
	cancel()
	require.NoError(t, <-done)
}
