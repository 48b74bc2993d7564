package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-lb/weir/etcd"
)

// factory makes what commands need. Tests hand in their own.
type factory struct {
	out, err io.Writer
	etcd     etcdOptions
}

func newRootCmd(f *factory) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "weir",
		Short:         "Reach, balance and keep alive the services of a cluster, by rules in each node's kernel",
		Long:          "Weir makes every process on every node reach a service at its VIP, by rules in the kernel and without a proxy.\n\n" + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	cmd.SetOut(f.out)
	cmd.SetErr(f.err)
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f.etcd.addTo(cmd)
	cmd.AddCommand(
		newAgentCmd(f),
		newDemoCmd(f),
	)
	return cmd
}

// etcdOptions say which etcd. Each flag can be given as an environment variable: WEIR_ETCD_USER for --etcd-user.
type etcdOptions struct {
	endpoints      []string
	ca, cert, key  string
	user, password string // password: a file, so that it shows in no process list
	prefix         string
	insecure       bool
	timeout        time.Duration
}

func (o *etcdOptions) addTo(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringSliceVar(&o.endpoints, "etcd", split(env("ENDPOINTS", "http://127.0.0.1:2379")), "etcd endpoints: http(s)://HOST:PORT or unix:///PATH")
	flags.StringVar(&o.ca, "etcd-ca", env("CA", ""), "file with the certificates that may sign etcd's")
	flags.StringVar(&o.cert, "etcd-cert", env("CERT", ""), "file with the client certificate")
	flags.StringVar(&o.key, "etcd-key", env("KEY", ""), "file with the client certificate's key")
	flags.StringVar(&o.user, "etcd-user", env("USER", ""), "etcd user")
	flags.StringVar(&o.password, "etcd-password-file", env("PASSWORD_FILE", ""), "file with the etcd user's password")
	flags.StringVar(&o.prefix, "etcd-prefix", env("PREFIX", etcd.DefaultPrefix), "prefix of all keys")
	flags.BoolVar(&o.insecure, "insecure-etcd", env("INSECURE", "") == "true", "accept plain http or no authentication beyond this host")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long to wait for etcd")
}

func env(name, fallback string) string {
	if v := os.Getenv("WEIR_ETCD_" + name); v != "" {
		return v
	}
	return fallback
}

func split(s string) []string { return strings.Split(s, ",") }

// open opens the store; nothing is asked of etcd yet.
func (o *etcdOptions) open(ctx context.Context, logger *slog.Logger) (*etcd.Store, error) {
	password := ""
	if o.password != "" {
		file, err := os.ReadFile(o.password)
		if err != nil {
			return nil, fmt.Errorf("read --etcd-password-file: %w", err)
		}
		password = strings.TrimRight(string(file), "\r\n")
	}
	if (o.cert == "") != (o.key == "") {
		return nil, usageError{errors.New("--etcd-cert and --etcd-key go together: give both")}
	}
	return etcd.Open(ctx, etcd.Config{
		Endpoints: o.endpoints, CA: o.ca, Cert: o.cert, Key: o.key, User: o.user, Password: password,
		Prefix: o.prefix, Insecure: o.insecure, Logger: logger,
	})
}
