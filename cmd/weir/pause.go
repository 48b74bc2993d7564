package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/cluster"
)

type pauseOptions struct {
	*app
	paused bool
}

func newPauseCmd(a *app, runF func(context.Context, *pauseOptions) error) *cobra.Command {
	o := &pauseOptions{app: a, paused: true}
	c := o.command("pause", "Stop all automatic decisions: weights and the number of instances stay as they are, no node is declared down", runF)
	c.Long = c.Short + `.
No instance is placed, scaled, replaced on another node, moved, called or woken. Launchers go on starting anew what ends on their node.
What load monitors say of instances that fail or died counts all the same: that is no decision, but what each node sees.`
	return c
}

func newResumeCmd(a *app, runF func(context.Context, *pauseOptions) error) *cobra.Command {
	o := &pauseOptions{app: a}
	return o.command("resume", "Let automatic decisions go on after \"weir pause\"", runF)
}

func (o *pauseOptions) command(use, short string, runF func(context.Context, *pauseOptions) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runPause(c.Context(), o)
		},
	}
}

func pauseWord(paused bool) string {
	if paused {
		return "paused"
	}
	return "not paused"
}

func runPause(ctx context.Context, o *pauseOptions) error {
	return o.with(ctx, func(s store) error {
		limited, cancel := context.WithTimeout(ctx, o.etcd.timeout)
		defer cancel()
		snapshot, err := s.Snapshot(limited)
		if err != nil {
			return err
		}
		word := pauseWord(o.paused)
		if now := snapshot.Config != nil && snapshot.Config.Paused; now == o.paused {
			if o.paused {
				o.say("automatic decisions are paused already")
			} else {
				o.say("automatic decisions were not paused")
			}
			return nil
		}
		revision, err := o.commit(ctx, s, cluster.SetPaused{Paused: o.paused})
		if err != nil {
			return err
		}
		o.say("automatic decisions are %s, written at revision %d", word, revision)
		return nil
	})
}
