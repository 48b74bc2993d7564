package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/door"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/launcher/logs"
)

// errIncomplete says that a part of what was asked for is missing; what is there was shown.
var errIncomplete = errors.New("a part is missing")

type serviceLogsOptions struct {
	*app
	ask        logs.Ask
	since      sinceFlag
	timestamps bool
	output     outputFlag
}

// defaultTail is how many lines of each instance are shown where nothing is said.
const defaultTail = 100

func newLogsCmd(a *app, runF func(context.Context, *serviceLogsOptions) error) *cobra.Command {
	o := &serviceLogsOptions{app: a}
	c := &cobra.Command{
		Use:   "logs SERVICE",
		Short: "Show what launched instances of a service wrote",
		Long: `Show what instances of a service that Weir launched wrote to stdout and stderr, on all nodes, in the order of time; also of those that
have ended or were stopped a short while ago. Of several instances each line begins with whose it is.

Where a node does not answer, that is said, the rest is shown, and the exit code is 9.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.ask.Service = args[0]
			if err := o.check(c.Flags().Changed("tail")); err != nil {
				return &usageError{err}
			}
			if runF != nil {
				return runF(c.Context(), o)
			}
			return o.with(c.Context(), func(s store) error { return runLogs(c.Context(), o, s) })
		},
	}
	f := c.Flags()
	f.StringVar(&o.ask.Instance, "instance", "", "only this one, by its id as in weir get instances")
	f.BoolVarP(&o.ask.Follow, "follow", "f", false, "go on with what they write until interrupted, also of instances that are started meanwhile")
	f.IntVar(&o.ask.Tail, "tail", defaultTail, "how many of the last lines of each instance; -1: all that are kept, as with --since")
	f.Var(&o.since, "since", "only lines of the last so long, such as 10m, or since a time, such as 2026-01-02T15:04:05Z")
	f.BoolVarP(&o.timestamps, "timestamps", "t", false, "begin each line with its time")
	o.output.register(f, "text", "text", "json")
	return c
}

func (o *serviceLogsOptions) check(tailGiven bool) error {
	if why := cluster.ValidName(o.ask.Service); why != "" {
		return fmt.Errorf("%s: see weir get services", why)
	}
	if why := cluster.ValidID(o.ask.Instance); o.ask.Instance != "" && why != "" {
		return fmt.Errorf("--instance: %s: see weir get instances %s", why, o.ask.Service)
	}
	if o.ask.Tail < -1 {
		return fmt.Errorf("--tail %d: want a number of lines, or -1 for all", o.ask.Tail)
	}
	if o.ask.Since = o.since.from(o.now()); !o.ask.Since.IsZero() && !tailGiven {
		o.ask.Tail = -1
	}
	return nil
}

func runLogs(ctx context.Context, o *serviceLogsOptions, s store) error {
	snapshot, err := o.snapshot(ctx, s)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, o.etcd.timeout)
	defer cancel()
	ops, err := s.Operations(limited)
	if err != nil {
		return err
	}
	_, unknown := controlcenter.Services(snapshot, o.ask.Service)
	if unknown != nil && o.ask.Follow && !launched(ops, o.ask.Service) {
		return unknown
	}
	stations := stationsOf(o.ask.Service, snapshot, ops)
	if len(stations) == 0 {
		return errors.New("no node has a launcher that keeps what instances write: weir launcher with the driver process")
	}
	if _, err := s.Secret(limited); err != nil {
		return err
	}
	client := o.etcd.asks(s.Secret)
	defer client.Close()
	l := newListener(o, &client, stations)
	l.unknown = unknown
	return l.run(ctx)
}

// station is a node that may have output of a service.
type station struct {
	question door.Question
	why      string // it cannot be asked
}

// launched says whether instances of a service are, or were a short while ago, on any node.
func launched(ops *cluster.Operations, service string) bool {
	for node := range ops.Assigned {
		if hostsAny(ops, node, service) {
			return true
		}
	}
	return false
}

func hostsAny(ops *cluster.Operations, node, service string) bool {
	for _, a := range ops.Assigned[node] {
		if a.Service == service && cmp.Or(a.Run.Driver, cluster.DriverProcess) == cluster.DriverProcess {
			return true
		}
	}
	return false
}

// stationsOf are the nodes whose launchers run programs: any of them may have had an instance that has ended.
func stationsOf(service string, snapshot *cluster.Snapshot, ops *cluster.Operations) (out []station) {
	nodes := map[string]bool{}
	for node, l := range ops.Launchers {
		permitted := len(l.Services) == 0 || slices.Contains(l.Services, service)
		if slices.Contains(l.Drivers, cluster.DriverProcess) && permitted {
			nodes[node] = true
		}
	}
	for node := range ops.Assigned {
		if hostsAny(ops, node, service) {
			nodes[node] = true
		}
	}
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		l, there := ops.Launchers[node]
		record, _ := snapshot.Nodes.Get(node)
		st := station{question: door.Question{Node: node, Record: record, What: "launcher", URL: l.Logs, Method: http.MethodGet}}
		switch {
		case !there:
			st.why = "its launcher is not in touch with etcd"
		case l.Logs == "":
			st.why = "its launcher does not hand out logs (--logs-listen)"
		}
		out = append(out, st)
	}
	return out
}

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
