package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/words"
	"github.com/weir-lb/weir/loadmon/check"
)

type reportOptions struct {
	*app
	states   map[check.State]*bool
	output   string
	scale    string
	duration time.Duration
	instance string
	monitor  string
}

// ownReport is what is to be said, and to whom.
type ownReport struct {
	id      check.ID
	monitor netip.AddrPort
	word    check.Word

	url, token string // of a launched instance; "": it is none
	ask        *words.Word
}

func newReportCmd(a *app, runF func(context.Context, *ownReport) error) *cobra.Command {
	o := &reportOptions{app: a, states: map[check.State]*bool{}}
	c := &cobra.Command{
		Use:   "report [REASON] [--ok | --fail | --leave | --back | --scale N]\n  weir report SERVICE --instance ID [--ok | --fail | --leave | --back]",
		Short: "Say how an instance of this host is doing, or that more are needed, as the instance itself",
		Long: `Say how an instance of this host is doing. Without one of the states it is --ok.

Inside an instance that Weir launched nothing else is needed: its environment says who it is ($APP_NAME, $INSTANCE_ID) and proves
it to the launcher of its node ($WEIR_URL, $WEIR_TOKEN). There --fail takes it out at once, ends it and starts it anew, and
--scale asks for more instances of its service. Where their number is fixed, since the service has no scale, it is refused.

For others name the service and the instance. The load monitor of this host hears it, and any process here may say it: --fail
holds until --ok. No etcd is asked in either case.

A service with the check "ttl: {}" waits for such reports: an instance that is silent for longer is failing. Instances of any
service may --leave: then they take no new connections until they come --back or are started anew.`,
		Example: `  weir report --fail "the database is gone"
  weir report --scale +2 "the queue is long" --for 5m
  weir report shop --instance 192.0.2.1:80 --leave`,
		Args: atMost(1),
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("for") && o.scale == "" {
				return &usageError{errors.New("--for is how long --scale counts: give --scale, or leave --for out")}
			}
			r, err := o.read(strings.Join(args, ""), os.Getenv)
			if err != nil {
				return &usageError{err}
			}
			if runF != nil {
				return runF(c.Context(), r)
			}
			return o.send(c.Context(), r)
		},
	}
	for _, s := range []struct {
		state check.State
		help  string
	}{
		{check.OK, "it is well"}, {check.Fail, "it is failing: until it says --ok, or, where Weir launched it, it is started anew"},
		{check.Leave, "it wants no new connections; live ones go on"}, {check.Back, "it wants new connections again"},
	} {
		o.states[s.state] = c.Flags().Bool(string(s.state), false, s.help)
	}
	f := c.Flags()
	f.StringVar(&o.scale, "scale", "", "ask for at least so many instances, as in 5, or for so many more, as in +2, within scale: {min, max} of the service")
	f.DurationVar(&o.duration, "for", time.Duration(cluster.DefaultAsk), fmt.Sprintf("how long --scale counts, at most %s", cluster.MaxAsk))
	f.StringVar(&o.instance, "instance", "", "of an instance that Weir did not launch: its id, its address as in weir get instances unless it has another")
	f.StringVar(&o.output, "output", "", fmt.Sprintf("what to tell with it, as REASON: one line, of which %d bytes are kept", cluster.MaxOutput))
	f.StringVar(&o.monitor, "to", check.ReportAddress.String(), "where the load monitor listens: the --report-listen of weir agent")
	return c
}

// read makes a report of what was given; the argument is a service's name where an instance is named, else the reason.
func (o *reportOptions) read(argument string, environment func(string) string) (*ownReport, error) {
	r := &ownReport{word: check.Word{State: check.OK, Output: o.output}}
	n := 0
	for state, chosen := range o.states {
		if *chosen {
			r.word.State = state
			n++
		}
	}
	if n > 1 || n == 1 && o.scale != "" {
		return nil, errors.New("give one of --ok, --fail, --leave, --back and --scale")
	}
	var err error
	if r.monitor, err = netip.ParseAddrPort(o.monitor); err != nil || !r.monitor.Addr().Unmap().IsLoopback() {
		return nil, fmt.Errorf("--to %q: want a loopback address such as %s: instances are heard on their own host alone", o.monitor, check.ReportAddress)
	}
	if o.instance != "" {
		err = o.named(r, argument)
	} else {
		err = o.itself(r, argument, environment)
	}
	if err == nil && o.scale != "" {
		r.ask, err = o.readScale(r.word.Output)
	}
	return r, err
}

// named is a report for an instance that is named.
func (o *reportOptions) named(r *ownReport, service string) error {
	r.id = check.ID{Service: service, Instance: o.instance}
	switch {
	case service == "":
		return fmt.Errorf("say whose instance it is: weir report SERVICE --instance %s", o.instance)
	case cluster.ValidName(service) != "":
		return fmt.Errorf("service: %s", cluster.ValidName(service))
	case cluster.ValidID(o.instance) != "":
		return fmt.Errorf("--instance: %s: give its id as in weir get instances %s", cluster.ValidID(o.instance), service)
	case o.scale != "":
		return errors.New("--scale is for instances that Weir launched, said by themselves: run it inside of one, without --instance")
	}
	return nil
}

// itself is a report of the instance whose environment this is.
func (o *reportOptions) itself(r *ownReport, reason string, environment func(string) string) error {
	r.id = check.ID{Service: environment("APP_NAME"), Instance: environment("INSTANCE_ID")}
	r.url, r.token = environment(launcher.URLVariable), environment(launcher.TokenVariable)
	if cluster.ValidName(r.id.Service) != "" || cluster.ValidID(r.id.Instance) != "" {
		return errors.New(`say which instance: "weir report SERVICE --instance ID", with the id as in "weir get instances SERVICE". ` +
			"Only inside an instance that Weir launched neither is needed: its environment has APP_NAME, INSTANCE_ID, WEIR_URL and WEIR_TOKEN, and this one has not")
	}
	if o.scale != "" && (r.url == "" || r.token == "") {
		return errors.New("--scale needs the instance's own token, and this environment has no WEIR_URL and WEIR_TOKEN: a launcher gives them, unless it has --report-listen=\"\"")
	}
	if reason != "" && o.output != "" {
		return errors.New("give the reason once: as an argument, or as --output")
	}
	r.word.Output = cmp.Or(reason, o.output)
	return nil
}

func (o *reportOptions) readScale(reason string) (*words.Word, error) {
	w := &words.Word{Reason: reason, For: cluster.Duration(o.duration)}
	n, err := strconv.Atoi(o.scale)
	if err != nil || n <= 0 {
		return nil, fmt.Errorf("--scale %q: want a number of instances, as in 5, or how many more, as in +2; fewer follow by themselves", o.scale)
	}
	if o.duration <= 0 || w.For > cluster.MaxAsk {
		return nil, fmt.Errorf("--for %s is outside 1s..%s", o.duration, cluster.MaxAsk)
	}
	if w.Replicas = n; strings.HasPrefix(o.scale, "+") {
		w.Replicas, w.More = 0, n
	}
	return w, nil
}

// send tells the launcher what is its affair, and the load monitor the rest. A launcher that is away starts nothing anew, but the
// load monitor can still take the instance out.
func (o *reportOptions) send(ctx context.Context, r *ownReport) error {
	switch {
	case r.ask != nil:
		return words.Say(ctx, r.url, r.token, "ask", *r.ask)
	case r.word.State == check.Fail && r.url != "" && r.token != "":
		err := words.Say(ctx, r.url, r.token, "fail", words.Word{Reason: r.word.Output})
		if !errors.Is(err, words.ErrAway) {
			return err
		}
		o.say("warning: %v: it is not started anew, and takes no connections until it says --ok", err)
	}
	return check.Report(ctx, r.monitor, r.id, r.word)
}
