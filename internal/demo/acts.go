package demo

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/weir-lb/weir/internal/lab"
)

// part is one act before it is played.
type part struct {
	name, title string
	may         string        // why connections may fail in it; "": none may
	within      time.Duration // what is promised of its time; 0: nothing is
	play        func(context.Context) (outcome, error)
}

// outcome is what came of a part, connections aside.
type outcome struct {
	took   time.Duration // until what was waited for was so
	note   string
	broken string // a promise beside time and connections; "": all were kept
}

// patience is how long anything is waited for before the story is given up: far beyond what is promised.
const patience = 60 * time.Second

// play plays all parts, one after the other.
func (t *tale) play(ctx context.Context) error {
	for _, p := range t.parts() {
		err := t.perform(ctx, p)
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p.title, err)
		}
	}
	return nil
}

func (t *tale) parts() []part {
	return []part{
		{"start", "a service of 2 to 6 is published", "", 10 * time.Second, t.start},
		{"triple", "the load triples", "", 10 * time.Second, t.triple},
		{"kill-instance", "an instance is killed", "those that it had, and those that were sent there until all nodes knew", 3 * time.Second, t.killOne},
		{"kill-node", "node n3 loses its power", "those that its instances had, and those that were sent there until it was declared down", 20 * time.Second, t.loseNode},
		{"return", "node n3 is back", "", 20 * time.Second, t.regainNode},
		{"drain-node", "node n2 is drained", "", 20 * time.Second, t.drainNode},
		{"fall", "the load falls again", "", 40 * time.Second, t.fall},
	}
}

// perform plays one part, and counts the connections of its time.
func (t *tale) perform(ctx context.Context, p part) error {
	before := t.visitors.Tally()
	t.painter.announce(p.title)
	t.show.say("")
	t.show.at(time.Now(), "%s", p.title)
	out, err := p.play(ctx)
	if err == nil {
		err = sleep(ctx, t.options.pause())
	}
	if err == nil && p.may != "" {
		err = t.calm(ctx)
	}
	if err != nil {
		return err
	}
	act := Act{Name: p.name, Title: p.title, May: p.may, TookS: out.took.Seconds(), WithinS: p.within.Seconds(), Note: out.note, Also: out.broken, Tally: t.visitors.Tally().Since(before)}
	t.acts = append(t.acts, act)
	t.show.at(time.Now(), "= %s", act.Note)
	t.show.at(time.Now(), "= %s", act.counts())
	return nil
}

// calm waits until all connections are over that began before what was broken was mended: they still belong to its act.
func (t *tale) calm(ctx context.Context) error {
	mended := time.Now().Add(settles)
	for t.visitors.Oldest().Before(mended) {
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// settles is what all nodes have at most needed to write their rules, once etcd says so.
const settles = 500 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (t *tale) load(perSecond float64) {
	t.painter.offer(perSecond)
	t.visitors.Set(perSecond)
}

func (t *tale) start(ctx context.Context) (outcome, error) {
	if err := t.publish(ctx); err != nil {
		return outcome{}, err
	}
	began := time.Now()
	_, err := t.until(ctx, patience, "2 instances serve and one stands by", func(c cast) bool { return c.settled(least, 1) })
	if err == nil {
		err = t.reached(ctx)
	}
	if err != nil {
		return outcome{}, err
	}
	took := time.Since(began)
	t.load(calmRate)
	// Long enough that both load monitors have seen the whole of it.
	return outcome{took: took, note: fmt.Sprintf("%d serve and 1 stands by after %.1f s", least, took.Seconds())}, sleep(ctx, t.options.look())
}

// reached waits until the client is led to the service: what etcd says is in the rules of a node some milliseconds later.
func (t *tale) reached(ctx context.Context) error {
	for {
		r, err := lab.Flood(ctx, t.cluster.Client.Namespace, lab.Load{Frontend: frontend, Connections: 10})
		if err != nil || r.Failed == 0 {
			return err
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func (t *tale) triple(ctx context.Context) (outcome, error) {
	begin, before := time.Now(), t.visitors.Tally()
	t.load(highRate)
	first, err := t.until(ctx, patience, "one more serves", func(c cast) bool { return c.serving() > least })
	if err != nil {
		return outcome{}, err
	}
	if _, err := t.until(ctx, patience, "6 instances serve", func(c cast) bool { return c.serving() == most }); err != nil {
		return outcome{}, err
	}
	took := time.Since(begin)
	for len(t.visitors.Tally().Since(before).ByID) < most { // connections that are over: they last for half a second
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return outcome{}, err
		}
	}
	_, err = t.until(ctx, patience, "the warm pool is refilled", func(c cast) bool { return c.settled(most, 1) })
	return outcome{took: took, note: fmt.Sprintf("the one that stood by serves after %.1f s, all 6 after %.1f s", first.Seconds(), took.Seconds())}, err
}

// killOne kills an instance, as the kernel does that runs out of memory.
func (t *tale) killOne(ctx context.Context) (outcome, error) {
	var victim player
	for _, p := range t.cast().players {
		if p.is == isServing && p.node != nodeName(0) {
			victim = p
			break
		}
	}
	t.show.say("           $ kill -9 %d    # %s on %s", victim.pid, victim.id, victim.node)
	begin := time.Now()
	if err := syscall.Kill(victim.pid, syscall.SIGKILL); err != nil {
		return outcome{}, fmt.Errorf("kill %s: %w", victim.id, err)
	}
	out, err := t.until(ctx, patience, victim.id+" is out", func(c cast) bool {
		p, _ := c.player(victim.id)
		return !p.takes || p.starts > victim.starts
	})
	if err != nil {
		return outcome{}, err
	}
	_, err = t.until(ctx, patience, victim.id+" serves again", func(c cast) bool {
		p, there := c.player(victim.id)
		return there && p.takes && p.starts > victim.starts
	})
	took := time.Since(begin)
	return outcome{took: took, note: fmt.Sprintf("out of the rules after %.1f s, started anew and back in them after %.1f s", out.Seconds(), took.Seconds())}, err
}

// doomed is the node that dies: not the first, through which the client is routed.
const doomed = 2

func (t *tale) loseNode(ctx context.Context) (outcome, error) {
	lost := len(t.cast().on(nodeName(doomed)))
	begin := time.Now()
	if err := t.killNode(doomed); err != nil {
		return outcome{}, err
	}
	down, err := t.until(ctx, patience, "n3 is declared down", func(c cast) bool { return c.nodes[doomed].is == "down" })
	if err != nil {
		return outcome{}, err
	}
	_, err = t.until(ctx, patience, "6 serve on the other nodes", func(c cast) bool { return c.are(isServing) == most })
	took := time.Since(begin)
	return outcome{took: took, note: fmt.Sprintf("declared down after %.1f s; its %d instances replaced after %.1f s", down.Seconds(), lost, took.Seconds())}, err
}

func (t *tale) regainNode(ctx context.Context) (outcome, error) {
	least := t.least()
	begin := time.Now()
	if err := t.bootNode(doomed); err != nil {
		return outcome{}, err
	}
	if _, err := t.until(ctx, patience, "n3 is up", func(c cast) bool { return c.nodes[doomed].is == "" }); err != nil {
		return outcome{}, err
	}
	if err := t.awaitLaunchers(ctx, nodes); err != nil {
		return outcome{}, err
	}
	_, err := t.until(ctx, patience, "none is there twice", func(c cast) bool { return c.settled(most, 1) })
	took := time.Since(begin)
	return outcome{took: took, note: fmt.Sprintf("it launches again, and what was replaced is not there twice, after %.1f s", took.Seconds()), broken: fewer(least())}, err
}

const drained = 1

func (t *tale) drainNode(ctx context.Context) (outcome, error) {
	moved := len(t.cast().on(nodeName(drained)))
	least := t.least()
	begin := time.Now()
	if err := t.weir(ctx, "node", "drain", nodeName(drained), "--reason", "a new disk"); err != nil {
		return outcome{}, err
	}
	_, err := t.until(ctx, patience, "nothing is left on n2", func(c cast) bool { return len(c.on(nodeName(drained))) == 0 && c.settled(most, 1) })
	took := time.Since(begin)
	return outcome{took: took, note: fmt.Sprintf("its %d instances were replaced first and then stopped, after %.1f s; never fewer than %d served", moved, took.Seconds(), least()), broken: fewer(least())}, err
}

// fewer says whether fewer served than are wanted.
func fewer(served int) string {
	if served < most {
		return fmt.Sprintf("only %d of %d served at a time", served, most)
	}
	return ""
}

func (t *tale) fall(ctx context.Context) (outcome, error) {
	t.load(calmRate)
	took, err := t.until(ctx, patience, "2 instances are left", func(c cast) bool { return c.wanted == least && c.settled(least, 1) })
	return outcome{took: took, note: fmt.Sprintf("%d serve and 1 stands by after %.1f s", least, took.Seconds())}, err
}
