package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/weir-lb/weir/internal/lab"
)

// picture is what the terminal shows at one moment.
type picture struct {
	since  time.Duration // the beginning
	act    string
	cast   cast
	rate   float64 // of new connections/s that are offered
	total  lab.Tally
	lately lab.Tally // of the last seconds, for the shares
	open   map[string]int
}

const bar = 30 // characters of a share of everything

// lines draws it.
func (p picture) lines() []string {
	out := []string{
		"",
		fmt.Sprintf("%7.1f s  %s", p.since.Seconds(), p.act),
		fmt.Sprintf("   load      %.0f new connections/s, %d open, %d unanswered", p.rate, sum(p.open)-p.open[""], p.open[""]),
		fmt.Sprintf("   replicas  %d serving, %d wanted, %d standing by", p.cast.serving(), p.cast.wanted, p.cast.are(isStandby)),
		fmt.Sprintf("   failures  %d failed, %d broken, of %d connections", p.total.Failed, p.total.Broken, p.total.Connections),
		fmt.Sprintf("   %-12s %-12s %-10s %5s %6s", "NODE", "INSTANCE", "IS", "OPEN", "SHARE"),
	}
	answered := sum(p.lately.ByID)
	for _, n := range p.cast.nodes {
		name := n.name
		if n.is != "" {
			name += " " + n.is
		}
		players := p.cast.on(n.name)
		if len(players) == 0 {
			out = append(out, fmt.Sprintf("   %-12s -", name))
		}
		for _, one := range players {
			share := float64(p.lately.ByID[one.id]) / float64(max(answered, 1))
			line := fmt.Sprintf("   %-12s %-12s %-10s %5d %4.0f %%  %s", name, one.id, one.is, p.open[one.id], 100*share, strings.Repeat("#", int(share*bar+0.5)))
			out = append(out, strings.TrimRight(line, " "))
			name = ""
		}
	}
	return out
}

func sum(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}
