package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weir-lb/weir/internal/lab"
)

// Options of the demo.
type Options struct {
	Program     string    // the weir binary that the agents run
	AgentArgs   []string  // further flags of the agents
	Iptables    string    // the program that lists the agents' rules, where that is not nft
	Connections int       // from each node after each step; default 3000
	Once        bool      // leave after the show
	JSON        bool      // print one JSON document in place of the show
	Quick       bool      // Scale: no pauses for who looks on
	Out         io.Writer // where the show goes
	Terminal    *Terminal // Scale: where the picture is drawn; nil: Out is no terminal, and gets lines alone
}

// pause is for a look at what an act came to.
func (o Options) pause() time.Duration {
	if o.Quick {
		return 0
	}
	return 2 * time.Second
}

// look is for a load to be seen by all load monitors.
func (o Options) look() time.Duration {
	if o.Quick {
		return 6 * time.Second
	}
	return 8 * time.Second
}

// Balance is the default story: publish, spread, re-weight, drain, and the loss of an agent, of etcd and of an instance. It returns when
// the context ends or, with Once, after the show; everything that it made is gone then. A failed connection is an error.
func Balance(ctx context.Context, o Options) (err error) {
	if o.Connections <= 0 {
		o.Connections = 3000
	}
	show := o.Out
	if o.JSON {
		show = io.Discard
	}
	fmt.Fprintf(show, "Three nodes, four hosts for instances and a client, each in a network namespace, on one switch.\nAn etcd on a unix socket, an agent on each node, and a control center beside that of n1. ")
	started := time.Now()
	s, err := build(ctx, o, 4)
	defer func() { err = errors.Join(err, s.strike()) }()
	if err != nil {
		return err
	}
	fmt.Fprintf(show, "Up after %.1f s.\nThe p-value says how likely a spread at least this uneven is, where the weights are kept exactly.\n", time.Since(started).Seconds())
	report, err := s.balance(ctx, show)
	if err != nil {
		return err
	}
	if o.JSON {
		if err := json.NewEncoder(o.Out).Encode(report); err != nil {
			return err
		}
	}
	if failed := report.Failed(); failed > 0 {
		return fmt.Errorf("%d connections failed", failed)
	}
	if !o.Once {
		s.invite(show)
		<-ctx.Done()
		fmt.Fprintln(show, "\nCleaning up.")
	}
	return nil
}

// act is one thing that the demo does. It returns what is worth a line.
type act struct {
	name, title string
	do          func() (string, error)
}

// balance plays the acts, and connects after each.
func (s *stage) balance(ctx context.Context, show io.Writer) (*Report, error) {
	report := &Report{}
	for i := range nodes {
		report.Nodes = append(report.Nodes, nodeName(i))
	}
	weights := map[string]int{s.instance(0): 1, s.instance(1): 1, s.instance(2): 1}
	step := func(act act) error {
		note, err := act.do()
		if err != nil {
			return fmt.Errorf("%s: %w", act.title, err)
		}
		counts, err := s.connect(ctx, weights)
		if err != nil {
			return fmt.Errorf("%s: %w", act.title, err)
		}
		done := summarize(act, note, counts, weights)
		done.print(show)
		report.Steps = append(report.Steps, done)
		return nil
	}
	var live *lab.Stream
	acts := []act{
		{"publish", "publish service a at 10.10.1.128:8080 with three instances", func() (string, error) {
			progress, err := s.publish(ctx, []int{1, 1, 1})
			return progress.String(), err
		}},
		{"add", "add a fourth instance with weight 2", func() (string, error) {
			weights[s.instance(3)] = 2
			progress, err := s.publish(ctx, []int{1, 1, 1, 2})
			return progress.String(), err
		}},
		{"drain", "drain " + s.instance(1) + " while a connection to it is open", func() (string, error) {
			var err error
			if live, err = s.streamTo(s.instance(1)); err != nil {
				return "", err
			}
			weights[s.instance(1)] = 0
			progress, err := s.drain(ctx, 1)
			return progress.String(), err
		}},
		{"kill-agent", "kill the agent of n2 with SIGKILL", func() (string, error) {
			return "its rules stay in the kernel", s.kill(1)
		}},
		{"stop-etcd", "stop etcd", func() (string, error) {
			s.server.Close()
			return "the other agents keep what they have", nil
		}},
		{"return", "start etcd and the agent of n2 again, and give the fourth instance weight 3", func() (string, error) {
			if err := s.startStore(ctx); err != nil {
				return "", err
			}
			if err := s.startAgent(1); err != nil {
				return "", err
			}
			if err := s.awaitAgents(ctx, nodes); err != nil {
				return "", err
			}
			weights[s.instance(3)] = 3
			progress, err := s.publish(ctx, []int{1, 1, 1, 3})
			return "the agent adopts the rules that it finds; then " + progress.String(), err
		}},
		{"kill-instance", "kill " + s.instance(2) + ", which three nodes check every second", func() (string, error) {
			weights[s.instance(2)] = 0
			outage, err := s.killInstance(ctx, 2)
			report.Outage = outage
			return outage.String(), err
		}},
	}
	for _, act := range acts {
		if err := step(act); err != nil {
			return nil, err
		}
	}
	if r := live.Stop(); r.Broken {
		return nil, fmt.Errorf("the connection that was open during the drain broke: %s", r.Reason)
	} else {
		fmt.Fprintf(show, "\nThe connection to the drained %s lived through all of it: %d of %d messages answered.\n", r.ID, r.Answered, r.Sent)
	}
	return report, nil
}

// streamTo opens connections from n1 until one leads to the instance, and keeps that one.
func (s *stage) streamTo(instance string) (*lab.Stream, error) {
	for range 200 {
		stream, err := lab.StartStream(s.cluster.Nodes[0].Namespace, lab.StreamOptions{Frontend: frontend})
		if err != nil {
			return nil, err
		}
		if stream.ID() == instance {
			return stream, nil
		}
		stream.Stop()
	}
	return nil, fmt.Errorf("none of 200 connections led to %s", instance)
}

// invite prints what to try while the cluster is up.
func (s *stage) invite(w io.Writer) {
	n1, client := s.cluster.Nodes[0].Name(), s.cluster.Client.Name()
	weir, etcdFlag := s.options.Program, "--etcd "+s.endpoint()
	list, flush := "nft list table ip weir", "nft flush ruleset"
	if program := s.options.Iptables; program != "" {
		list, flush = program+"-save -t nat", program+" -t nat -F"
	}
	fmt.Fprintf(w, `
The cluster stays up until Ctrl-C. In another terminal, as root:

  connect from node n1, and from a client that is routed through it:
    ip netns exec %[1]s bash -c 'head -1 </dev/tcp/%[3]s/%[4]d'
    ip netns exec %[2]s bash -c 'head -1 </dev/tcp/%[3]s/%[4]d'
  the rules of n1, why they are so, and what a change would do:
    ip netns exec %[1]s %[10]s
    ip netns exec %[1]s %[5]s explain local %[3]s:%[4]d --node n1 %[6]s
    %[5]s controlcenter plan %[7]s --vip %[3]s:%[4]d --instance %[8]s %[6]s
  look at the cluster, and change it:
    %[5]s controlcenter get instances -o wide %[6]s
    %[5]s controlcenter undrain %[7]s %[9]s %[6]s
    %[5]s controlcenter get nodes %[6]s
    ip netns exec %[1]s %[5]s top %[6]s %[12]s
    ip netns exec %[1]s %[5]s describe service %[7]s %[6]s %[12]s
  break something, and connect again:
    ip netns exec %[1]s %[11]s
  a shell on n1:
    ip netns exec %[1]s bash
`, n1, client, frontend.Addr(), frontend.Port(), weir, etcdFlag, service, s.instance(0), s.instance(1), list, flush, insecure)
}
