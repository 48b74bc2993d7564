package demo

import (
	"context"
	"sync"
	"time"

	"github.com/weir-lb/weir/internal/lab"
)

// painter is what the picture needs beside what others know.
type painter struct {
	mu   sync.Mutex
	act  string
	rate float64
}

func (p *painter) announce(act string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.act = act
}

func (p *painter) offer(perSecond float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate = perSecond
}

const (
	repaint = 200 * time.Millisecond
	recent  = 10 // repaints that shares are of
)

// paint has the picture follow what happens until the context ends, and returns nil then. Where there is no terminal it
// prints a line when the cast changes.
func (t *tale) paint(ctx context.Context) error {
	tick := time.NewTicker(repaint)
	defer tick.Stop()
	var past []lab.Tally
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := t.cast()
		total := t.visitors.Tally()
		if past = append(past, total); len(past) > recent {
			past = past[1:]
		}
		if t.show.t == nil {
			if text := now.String(); text != said && len(now.nodes) > 0 {
				t.show.at(time.Now(), "  %s", text)
				said = text
			}
			continue
		}
		t.painter.mu.Lock()
		p := picture{act: t.painter.act, rate: t.painter.rate}
		t.painter.mu.Unlock()
		p.since, p.cast, p.total, p.lately, p.open = time.Since(t.show.began), now, total, total.Since(past[0]), t.visitors.Open()
		t.show.draw(p.lines())
	}
}

// curtain takes the picture away.
func (t *tale) curtain() { t.show.draw(nil) }
