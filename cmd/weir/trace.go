package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/conntrack"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

type traceOptions struct {
	*app
	frontend cluster.Frontend
	count    int
	timeout  time.Duration
	rate     int
	owner    string
	driver   driverFlags
	output   outputFlag
}

func newTraceCmd(a *app) *cobra.Command {
	o := &traceOptions{app: a}
	c := &cobra.Command{
		Use:   "trace VIP:PORT[/udp]",
		Short: "Show real new connections on this node as they come: client, chosen instance, rule path",
		Long: `Show what this node's kernel does with real new connections to a frontend, as they come: the client, the instance that was
chosen, and the rules on the way; refused ones too, and those that are held since the service sleeps. It ends by itself, after --count connections or --timeout. Needs CAP_NET_ADMIN;
asks nothing of etcd.

Packets are marked by a table of its own, which the kernel takes away with this process, however it ends. Where the kernel has no
such tables (before Linux 5.12), with iptables, or with --table-owner=off, the news of connection tracking are shown instead: they know the client
and the chosen instance, but neither the path nor what was refused.`,
		Args: exactly(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if o.frontend, err = cluster.ParseFrontend(args[0]); err == nil {
				err = o.check()
			}
			if err != nil {
				return &usageError{err}
			}
			return runTrace(c.Context(), o)
		},
	}
	c.Flags().IntVar(&o.count, "count", 10, "end after so many connections")
	c.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "end after this time")
	c.Flags().IntVar(&o.rate, "rate", nft.DefaultRate, "connections a second that are looked at, at most")
	c.Flags().StringVar(&o.owner, "table-owner", string(nft.OwnAuto), "auto: by a table that goes with this process, where the kernel can; off: by connection tracking")
	o.driver.register(c.Flags())
	o.output.register(c.Flags(), "table", "table", "json")
	return c
}

func (o *traceOptions) check() error {
	switch {
	case o.count < 1 || o.rate < 1:
		return errors.New("--count and --rate: want at least 1")
	case o.timeout <= 0:
		return fmt.Errorf("--timeout %s: want a time to wait", o.timeout)
	case o.owner != string(nft.OwnAuto) && o.owner != string(nft.OwnOff):
		return fmt.Errorf("--table-owner %q: use auto or off", o.owner)
	}
	return nil
}

func runTrace(ctx context.Context, o *traceOptions) error {
	d, state, err := o.driver.look(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	if state.Placed[o.frontend].Mode == rules.Absent {
		return noFrontend(o.frontend, slices.Collect(maps.Keys(state.Placed)))
	}
	limited, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	start, shown := time.Now(), 0
	err = o.follow(limited, d, func(a rules.Attempt) {
		if shown == o.count {
			return // what was under way when the last one came
		}
		o.show(a)
		if shown++; shown == o.count {
			cancel()
		}
	})
	if err != nil {
		return err
	}
	o.say("connections to %s in %[3]s: %[2]d", o.frontend, shown, time.Since(start).Round(time.Millisecond))
	return nil
}

// follow is the driver's way, where it has one and the kernel can, else that of connection tracking.
func (o *traceOptions) follow(ctx context.Context, d driver, seen func(rules.Attempt)) error {
	f := rules.FollowOptions{
		Frontend: o.frontend, Rate: o.rate,
		Ready:  func() { o.say("following %s: Ctrl-C ends it", o.frontend) },
		Missed: func(what string) { o.say("warning: %s", what) },
	}
	if o.owner == string(nft.OwnOff) {
		return followTracking(ctx, f, seen)
	}
	err := fmt.Errorf("%w: the rules are those of driver %s", errors.ErrUnsupported, d.Name())
	if follower, can := d.(rules.Follower); can {
		err = follower.Follow(ctx, f, seen)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		o.say("warning: %v: neither the path nor what is refused can be shown", err)
		return followTracking(ctx, f, seen)
	}
	return err
}

// followTracking shows what connection tracking tells: with any driver, and without a table.
func followTracking(ctx context.Context, o rules.FollowOptions, seen func(rules.Attempt)) error {
	mine, err := agent.Addresses()
	if err != nil {
		return err
	}
	window, inWindow, left := time.Now(), 0, 0
	err = conntrack.Watch(ctx, conntrack.Events{To: o.Frontend.VIP, Ready: o.Ready, Missed: o.Missed}, func(e conntrack.Entry) {
		if cluster.Proto(e.Proto) != o.Frontend.Proto || e.To.Port() != o.Frontend.Port {
			return
		}
		if now := time.Now(); now.Sub(window) > time.Second {
			window, inWindow = now, 0
		}
		if inWindow++; inWindow > o.Rate {
			left++
			return
		}
		a := rules.Attempt{At: time.Now(), Frontend: o.Frontend, Client: e.Client, Local: slices.Contains(mine, e.Client.Addr()), Outcome: rules.Passes}
		if e.Answers != e.To {
			a.Outcome, a.Target = rules.Sent, e.Answers
		}
		seen(a)
	})
	if left > 0 {
		o.Missed(fmt.Sprintf("%d more came than the %d a second that are looked at", left, o.Rate))
	}
	return err
}

// show prints one line.
func (o *traceOptions) show(a rules.Attempt) {
	if o.output.format == "json" {
		text, err := json.Marshal(a)
		if err != nil { // no part of it can fail
			panic(err)
		}
		fmt.Fprintf(o.out, "%s\n", text)
		return
	}
	fmt.Fprintf(o.out, "%s  %s\n", a.At.Format("15:04:05.000"), attemptText(a))
}

// attemptText is an attempt as people read it:
//
//	192.168.10.50:40122 -> 192.168.10.101:80 as 192.168.10.1: prerouting > dispatch > lb-4-3 > postrouting > masq
//	192.168.10.1:51002 (this node) refused: output > dispatch > no-endpoint > refuse: reject with tcp reset
func attemptText(a rules.Attempt) string {
	var b strings.Builder
	b.WriteString(a.Client.String())
	if a.Local {
		b.WriteString(" (this node)")
	}
	if a.Target.IsValid() {
		b.WriteString(" -> " + a.Target.String())
		if a.As.IsValid() {
			b.WriteString(" as " + a.As.Addr().String())
		}
	} else {
		b.WriteString(" " + string(a.Outcome))
	}
	separator := ": "
	for _, s := range a.Steps {
		b.WriteString(separator + s.Chain)
		separator = " > "
	}
	if n := len(a.Steps); n > 0 && a.Outcome != rules.Sent {
		b.WriteString(": " + a.Steps[n-1].What)
	}
	return b.String()
}

// noFrontend says what there is instead: other ports of the VIP first, then the same port elsewhere.
func noFrontend(f cluster.Frontend, have []cluster.Frontend) error {
	const few = 3
	distance := func(g cluster.Frontend) int {
		switch {
		case g.VIP == f.VIP && g.Port == f.Port:
			return 0
		case g.VIP == f.VIP:
			return 1
		case g.Port == f.Port && g.Proto == f.Proto:
			return 2
		}
		return 3
	}
	slices.SortFunc(have, func(a, b cluster.Frontend) int {
		if d := distance(a) - distance(b); d != 0 {
			return d
		}
		return near(f.VIP, a, b)
	})
	if len(have) == 0 {
		return fmt.Errorf("this node's kernel holds no frontend at all: is the agent running, and is anything published? See weir get services")
	}
	var names []string
	for _, g := range have[:min(few, len(have))] {
		names = append(names, g.String())
	}
	return fmt.Errorf("this node's kernel does not hold %s: there is %s; see weir rules show", f, strings.Join(names, ", "))
}

// near puts the family that was asked for first.
func near(vip netip.Addr, a, b cluster.Frontend) int {
	if a.VIP.Is4() != b.VIP.Is4() {
		if a.VIP.Is4() == vip.Is4() {
			return -1
		}
		return 1
	}
	return a.Compare(b)
}
