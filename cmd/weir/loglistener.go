package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/launcher/logs"
)

// listener shows what all stations say.
type listener struct {
	*serviceLogsOptions
	client   *door.Client
	stations []station
	unknown  error // why the service is not known; what is kept of one that was withdrawn is shown all the same

	mu      sync.Mutex
	missing map[string]bool // nodes of which something is missing
	shown   bool            // whose a line is
	known   map[string]bool // instances
}

func newListener(o *serviceLogsOptions, client *door.Client, stations []station) *listener {
	return &listener{serviceLogsOptions: o, client: client, stations: stations, missing: map[string]bool{}, known: map[string]bool{}}
}

// run shows what is kept in the order of time, and then new lines as they come.
func (l *listener) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var g errgroup.Group
	var sources []logs.Source
	heard := make([]chan logs.Line, len(l.stations))
	for i, st := range l.stations {
		heard[i] = make(chan logs.Line, 64)
		g.Go(func() error {
			defer close(heard[i])
			l.listen(ctx, st, heard[i])
			return nil
		})
	}
	for _, from := range heard {
		if first, ok := <-from; ok {
			for _, id := range first.Instances {
				l.known[id] = true
			}
		}
		sources = append(sources, until(from))
	}
	l.shown = l.ask.Instance == "" && (len(l.known) > 1 || l.ask.Follow)
	err := logs.Merge(sources, l.print, func(int, error) {})
	for _, from := range heard {
		g.Go(func() error {
			for line := range from {
				if err := l.print(line); err != nil {
					cancel(err) // whoever read it has gone
				}
			}
			return nil
		})
	}
	if err != nil {
		cancel(err)
	}
	_ = g.Wait()
	if err == nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.Canceled) {
		err = context.Cause(ctx)
	}
	return cmp.Or(err, l.verdict())
}

// until is what was kept: all that comes before the word that says so.
func until(from <-chan logs.Line) logs.Source {
	return func() (logs.Line, bool, error) {
		line, ok := <-from
		return line, ok && !line.Live, nil
	}
}

func (l *listener) verdict() error {
	switch {
	case len(l.missing) > 0:
		return fmt.Errorf("%w: what instances on %s wrote", errIncomplete, strings.Join(slices.Sorted(maps.Keys(l.missing)), ", "))
	case len(l.known) == 0 && !l.ask.Follow && l.unknown != nil:
		return l.unknown
	case len(l.known) == 0 && !l.ask.Follow && l.ask.Instance != "":
		return fmt.Errorf("nothing is kept of instance %s: see weir get instances %s; of those that were stopped, each node keeps the last 20", l.ask.Instance, l.ask.Service)
	case len(l.known) == 0 && !l.ask.Follow:
		return fmt.Errorf("nothing is kept of service %s: no instance of it was launched on a node that can be asked, see weir events %s", l.ask.Service, l.ask.Service)
	}
	return nil
}

// listen hands on what a station says. The first word is whose lines follow. Where lines are followed, one that falls silent is
// asked again.
func (l *listener) listen(ctx context.Context, st station, to chan<- logs.Line) {
	ask, begun, last := l.ask, false, ""
	tell := func(line logs.Line) error {
		begun = true
		if !line.At.IsZero() && line.Note == "" {
			ask.Since, ask.Tail = line.At.Add(1), -1
		}
		if line.Live && last != "" {
			last = ""
			line.Note = "node " + st.question.Node + " answers again"
		}
		select {
		case to <- line:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for {
		err := errors.New(st.why)
		if st.why == "" {
			q := st.question
			q.Path = logs.Path + "?" + ask.Query().Encode()
			q.Endless = logs.Silence
			err = l.client.Ask(ctx, q, func(answer io.Reader) error { return logs.Read(answer, tell) })
		}
		if err == nil && !ask.Follow || ctx.Err() != nil {
			return
		}
		err = cmp.Or(err, errors.New("it ended its answer"))
		if text := err.Error(); text != last {
			last = text
			l.miss(st.question.Node, text)
		}
		if !begun { // there is nothing to wait for
			_ = tell(logs.Line{})
			_ = tell(logs.Line{Live: true})
			begun = true
		}
		if !ask.Follow || st.why != "" || !runner.Sleep(ctx, time.Second) {
			return
		}
	}
}

func (l *listener) miss(node, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missing[node] = true
	l.say("warning: node %s: %s", node, why)
}

// print shows a line, or says a word of what is missing.
func (l *listener) print(line logs.Line) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case line.Note != "":
		l.say("note: %s", strings.TrimSpace(line.Instance+" "+line.Note))
		return nil
	case line.Stream == "":
		return nil
	case l.output.format == "json":
		text, err := json.Marshal(line)
		if err == nil {
			_, err = fmt.Fprintf(l.out, "%s\n", text)
		}
		return err
	}
	var b strings.Builder
	if l.timestamps {
		b.WriteString(line.At.UTC().Format("2006-01-02T15:04:05.000000Z") + " ")
	}
	if l.shown {
		b.WriteString(cell(line.Instance) + " | ")
	}
	_, err := fmt.Fprintf(l.out, "%s%s\n", b.String(), strings.ReplaceAll(line.Text, "\n", `\n`))
	return err
}
