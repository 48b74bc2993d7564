package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/etcd/embedded"
)

type upOptions struct {
	agent      *agentOptions
	listenEtcd string
}

func newUpCmd(a *app) *cobra.Command {
	o := &upOptions{agent: &agentOptions{}}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start Weir on this host alone: an embedded etcd and the agent",
		Long: `Start an etcd in this process, on loopback, with its data below --state-dir, and the agent beside it. Then publish with
"weir controlcenter publish" from another terminal. Ctrl-C ends both; rules stay, and the next start goes on from them.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUp(cmd.Context(), a, o) },
	}
	o.agent.register(cmd)
	cmd.Flags().StringVar(&o.listenEtcd, "etcd-listen", "127.0.0.1:2379", "where the embedded etcd listens: a loopback address or unix:///PATH")
	return cmd
}

// mayChangeRules asks the kernel, for an etcd that starts and ends again would hide why.
func mayChangeRules(ctx context.Context, flags driverFlags) error {
	driver, _, err := flags.look(ctx)
	if err != nil {
		return err
	}
	return driver.Close()
}

func runUp(ctx context.Context, a *app, o *upOptions) error {
	if err := errors.Join(o.agent.check(), o.agent.monitor.check(a.etcd), mayChangeRules(ctx, o.agent.driver)); err != nil {
		return err
	}
	logger, err := o.agent.logs.logger(a.err)
	if err != nil {
		return err
	}
	server, err := embedded.Start(ctx, embedded.Options{Dir: filepath.Join(o.agent.stateDir, "etcd"), Listen: o.listenEtcd, Logger: logger})
	if err != nil {
		return err
	}
	defer server.Close()
	a.etcd.endpoints = []string{server.Endpoint()}
	a.say(`etcd listens on %[1]s. In another terminal:

  weir controlcenter publish a --vip 10.10.1.128:8080 --instance IP:PORT --etcd %[1]s
  weir controlcenter get services --etcd %[1]s
  etcdctl --endpoints %[1]s get --prefix /weir/v1/
`, server.Endpoint())

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return runAgent(ctx, a, o.agent) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-server.Err():
			return fmt.Errorf("embedded etcd: %w", err)
		}
	})
	return g.Wait()
}
