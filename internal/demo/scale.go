package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// Of the service that Weir runs itself.
const (
	launchedService = "shop"
	least, most     = 2, 6
	stay            = 500 * time.Millisecond // how long one connection lasts
	calmRate        = 36                     // new connections/s: 18 are open at a time, 9 at each of two instances
	highRate        = 3 * calmRate           // 54, and so 9 at each of six
)

// Scale is the story of a service that Weir runs itself: a load that triples and falls, an instance and a node that die, a
// node that is drained. It returns as Balance does. A connection that failed or broke where none may, and a time that was
// not kept, are an error.
func Scale(ctx context.Context, o Options) (err error) {
	out := o.Out
	if o.JSON {
		out, o.Terminal = io.Discard, nil
	}
	began := time.Now()
	sh := &show{out: out, t: o.Terminal, began: began}
	sh.say("Three nodes and a client, each in a network namespace, on one switch. An etcd on a\nunix socket, an agent and a launcher on each node, and a control center beside those\nof n1. The client is routed through n1.")
	s, err := build(ctx, o, 0)
	defer func() { err = errors.Join(err, s.strike()) }()
	if err != nil {
		return err
	}
	if err := s.startLaunchers(ctx); err != nil {
		return err
	}
	sh.say("Up after %.1f s.", time.Since(began).Seconds())
	visitors, err := lab.StartVisitors(s.cluster.Client.Namespace, lab.VisitorsOptions{Frontend: frontend, Stay: stay})
	if err != nil {
		return err
	}
	t := &tale{stage: s, lookout: newLookout(s.store, launchedService, nodeNames()), show: sh, visitors: visitors}
	return t.told(ctx, out)
}

func nodeNames() (names []string) {
	for i := range nodes {
		names = append(names, nodeName(i))
	}
	return names
}

// tale is the story while it is told.
type tale struct {
	*stage
	*lookout
	show     *show
	visitors *lab.Visitors
	painter  painter
	acts     []Act
}

// told tells the story with everything that goes on beside it: etcd is followed, and the picture painted.
func (t *tale) told(ctx context.Context, out io.Writer) (err error) {
	ctx, end := context.WithCancel(ctx)
	g, beside := errgroup.WithContext(ctx)
	g.Go(func() error { return t.run(beside, t.decided) })
	g.Go(func() error { return t.paint(beside) })
	defer func() {
		end()
		err = errors.Join(err, g.Wait())
	}()
	if err := t.play(beside); err != nil {
		if beside.Err() == nil {
			err = fmt.Errorf("%w\nagents, launchers and the control center said last:\n%s", err, t.last(5))
		}
		return err
	}
	report := &ScaleReport{Nodes: nodeNames(), Acts: t.acts}
	if t.options.JSON {
		if err := json.NewEncoder(t.options.Out).Encode(report); err != nil {
			return err
		}
	}
	t.curtain()
	t.show.say("%s", report)
	if broken := report.Broken(); len(broken) > 0 {
		return fmt.Errorf("promises were broken: %s", strings.Join(broken, "; "))
	}
	if !t.options.Once {
		t.invite()
		before := t.visitors.Tally()
		<-ctx.Done()
		since := t.visitors.Tally().Since(before)
		t.show.say("\nSince then %d connections: %d failed, %d broken. Cleaning up.", since.Connections, since.Failed, since.Broken)
	}
	return nil
}

// decided shows what the control center decided, and why.
func (t *tale) decided(e cluster.Event) {
	what := e.What
	if to, ok := e.Out["service"]; ok && e.What == cluster.EventScaled {
		what = fmt.Sprintf("%s %.0f -> %.0f", what, to["from"], to["to"])
	}
	t.show.at(e.At, "  %s: %s", what, e.Reason)
}

// file is what an operator says of the service.
func file(command []string) string {
	words, err := json.Marshal(command)
	if err != nil {
		panic(err) // of strings
	}
	return fmt.Sprintf(`name: %s
vips: [%s]
ports: [{port: %d}]
check: {tcp: {}, interval: 1s}
run: {command: %s, user: root, drain: 10s}
scale: {min: %d, max: %d, metrics: [{metric: connections, target: 10}], window: 15s}
warm: 1
`, launchedService, frontend.Addr(), frontend.Port(), words, least, most)
}

// weir runs a command of the operator's.
func (t *tale) weir(ctx context.Context, args ...string) error {
	t.show.say("           $ weir %s", typed(args))
	said, err := exec.CommandContext(ctx, t.options.Program, append(args, "--etcd", t.endpoint())...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("weir %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return nil
}

// typed is a command's words as somebody would type them.
func typed(args []string) string {
	words := slices.Clone(args)
	for i, word := range words {
		if strings.Contains(word, " ") {
			words[i] = strconv.Quote(word)
		}
	}
	return strings.Join(words, " ")
}

// publish writes the service's file and publishes it.
func (t *tale) publish(ctx context.Context) error {
	command, err := lab.LaunchedCommand()
	if err != nil {
		return err
	}
	name, text := filepath.Join(t.dir, launchedService+".yaml"), file(command)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return err
	}
	t.show.say("\n%s", indented(text))
	return t.weir(ctx, "controlcenter", "publish", "-f", name)
}

func indented(text string) string {
	return "           " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n           ")
}

// invite says what to try while the cluster stays up; the load goes on.
func (t *tale) invite() {
	t.show.say(`
The cluster stays up, and the calm load goes on, until Ctrl-C. In another terminal, as root:

  export WEIR_ETCD_ENDPOINTS=%[1]s
  %[2]s events %[3]s
  %[2]s scale %[3]s 5
  %[2]s node uncordon n2
  %[2]s controlcenter get instances -o wide
  ip netns exec %[4]s %[2]s status %[5]s
  ip netns exec %[4]s %[2]s describe service %[3]s %[5]s
  ip netns exec %[4]s %[2]s logs %[3]s %[5]s
  ip netns exec %[4]s %[2]s top %[5]s
  ip netns exec %[4]s curl -s localhost:9648/debug/state
`, t.endpoint(), t.options.Program, launchedService, t.cluster.Nodes[0].Name(), insecure)
}
