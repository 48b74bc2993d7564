package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/runner"
	"github.com/weir-lb/weir/launcher/keep"
)

// authenticated refuses an etcd that does not ask who writes, as far as flags tell. Loopback alone is not enough: every user
// of the host could write there.
func (f etcdFlags) authenticated() error {
	c, err := f.config()
	if err != nil {
		return &usageError{err}
	}
	if c.Cert != "" || c.User != "" || c.Insecure && c.Local() {
		return nil
	}
	return fmt.Errorf("%w: a launcher runs what etcd says, and %s does not ask who writes there: use --etcd-cert and --etcd-key, or --etcd-user; "+
		"only for an etcd on loopback --insecure-etcd permits it", cluster.ErrUnsafe, strings.Join(c.Endpoints, ", "))
}

// proven is the store as a launcher may obey it. Where a user is all that speaks for etcd asking who writes, etcd is asked
// whether it does: it takes any user while authentication is off.
func (f etcdFlags) proven(s *etcd.Store, logger *slog.Logger) keep.Store {
	if f.cert != "" || f.insecure && (etcd.Config{Endpoints: f.endpoints}).Local() {
		return s
	}
	return &provenStore{s, s.Authenticates, strings.Join(f.endpoints, ", "), logger}
}

// provenStore tells of no assignment before etcd said that it asks who writes.
type provenStore struct {
	keep.Store
	authenticates func(context.Context) (bool, error)
	endpoints     string
	logger        *slog.Logger
}

// WatchAssigned returns cluster.ErrUnsafe where authentication is off.
func (s *provenStore) WatchAssigned(ctx context.Context, node string, fn func(map[string]cluster.Assignment, []cluster.Problem)) error {
	if err := s.prove(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	return s.Store.WatchAssigned(ctx, node, fn)
}

// prove waits for an etcd that does not answer: what runs is kept meanwhile, and nothing is obeyed.
func (s *provenStore) prove(ctx context.Context) error {
	for told := false; ; told = true {
		on, err := s.authenticates(ctx)
		switch {
		case err == nil && on || ctx.Err() != nil:
			return nil
		case err == nil:
			return fmt.Errorf("%w: a launcher runs what etcd says, and authentication is off at %s, so everybody may write there, and --etcd-user proves nothing: "+
				"enable it (weir rbac prints the commands), or use --etcd-cert and --etcd-key; only for an etcd on loopback --insecure-etcd permits it", cluster.ErrUnsafe, s.endpoints)
		case !told:
			s.logger.Warn("nothing is launched until etcd says whether it asks who writes", "err", err)
		}
		if !runner.Sleep(ctx, time.Second) {
			return nil
		}
	}
}
