package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

type rbacOptions struct {
	*app
	nodes []string
}

func newRBACCmd(a *app, runF func(context.Context, *rbacOptions) error) *cobra.Command {
	o := &rbacOptions{app: a}
	return &cobra.Command{
		Use:   "rbac [NODE...]",
		Short: "Print the etcdctl commands that give each part only the keys it needs",
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			o.nodes = args
			if runF != nil {
				return runF(c.Context(), o)
			}
			return runRBAC(c.Context(), o)
		},
	}
}

func runRBAC(ctx context.Context, o *rbacOptions) error {
	return o.with(ctx, func(s store) error {
		text, err := s.RBAC(o.nodes...)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(o.out, text)
		return err
	})
}
