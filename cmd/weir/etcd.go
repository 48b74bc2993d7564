package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/weir-lb/weir/etcd"
)

// etcdFlags say which etcd, and as whom.
type etcdFlags struct {
	endpoints          []string
	ca, cert, key      string
	user, passwordFile string
	prefix             string
	insecure           bool
	timeout            time.Duration
}

func (f *etcdFlags) register(flags *pflag.FlagSet) {
	flags.StringSliceVar(&f.endpoints, "etcd", []string{"http://127.0.0.1:2379"}, "endpoints of etcd [$WEIR_ETCD_ENDPOINTS]")
	flags.StringVar(&f.ca, "etcd-ca", "", "file with the CA certificates of etcd [$WEIR_ETCD_CA]")
	flags.StringVar(&f.cert, "etcd-cert", "", "file with the client certificate [$WEIR_ETCD_CERT]")
	flags.StringVar(&f.key, "etcd-key", "", "file with the key of the client certificate [$WEIR_ETCD_KEY]")
	flags.StringVar(&f.user, "etcd-user", "", "user of etcd [$WEIR_ETCD_USER]")
	flags.StringVar(&f.passwordFile, "etcd-password-file", "", "file with the password of the user [$WEIR_ETCD_PASSWORD_FILE]")
	flags.StringVar(&f.prefix, "etcd-prefix", etcd.DefaultPrefix, "prefix of all keys [$WEIR_ETCD_PREFIX]")
	flags.BoolVar(&f.insecure, "insecure-etcd", false, "accept plain http, or no authentication, to another host [$WEIR_INSECURE_ETCD]")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Second, "longest wait for an answer of etcd [$WEIR_TIMEOUT]")
}

// variables are the environment variables that stand in for flags that are not given.
var variables = map[string]string{
	"etcd": "WEIR_ETCD_ENDPOINTS", "etcd-ca": "WEIR_ETCD_CA", "etcd-cert": "WEIR_ETCD_CERT", "etcd-key": "WEIR_ETCD_KEY",
	"etcd-user": "WEIR_ETCD_USER", "etcd-password-file": "WEIR_ETCD_PASSWORD_FILE", "etcd-prefix": "WEIR_ETCD_PREFIX",
	"insecure-etcd": "WEIR_INSECURE_ETCD", "timeout": "WEIR_TIMEOUT",
}

func fromEnvironment(flags *pflag.FlagSet) error {
	for name, variable := range variables {
		value, given := os.LookupEnv(variable)
		if flag := flags.Lookup(name); flag == nil || flag.Changed || !given || value == "" {
			continue
		}
		if err := flags.Set(name, value); err != nil {
			return fmt.Errorf("environment variable %s: %w", variable, err)
		}
	}
	return nil
}

func (f etcdFlags) config() (etcd.Config, error) {
	c := etcd.Config{
		Endpoints: f.endpoints, CA: f.ca, Cert: f.cert, Key: f.key, User: f.user, Prefix: f.prefix, Insecure: f.insecure,
		DialTimeout: min(f.timeout, 5*time.Second),
	}
	if f.passwordFile != "" {
		password, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return c, fmt.Errorf("read the password of etcd: %w", err)
		}
		c.Password = strings.TrimRight(string(password), "\r\n")
	}
	return c, nil
}

// open opens the store; nothing is asked of etcd yet.
func (f etcdFlags) open(ctx context.Context, logger *slog.Logger) (*etcd.Store, error) {
	c, err := f.config()
	if err != nil {
		return nil, err
	}
	c.Logger = logger
	return etcd.Open(ctx, c)
}

func openEtcd(ctx context.Context, f etcdFlags) (store, error) { return f.open(ctx, nil) }
