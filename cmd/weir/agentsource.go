package main

import (
	"context"
	"fmt"
	"time"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
)

// source is the store as the agent needs it.
type source struct {
	store *etcd.Store
	also  func(*cluster.Snapshot) // gets each snapshot, too; nil: nobody does
}

func (s *source) Watch(ctx context.Context, last *cluster.Snapshot, deliver func(*cluster.Snapshot)) error {
	return s.store.Watch(ctx, etcd.WatchOptions{Last: last}, func(snapshot *cluster.Snapshot) {
		deliver(snapshot)
		if s.also != nil {
			s.also(snapshot)
		}
	})
}

func (s *source) Connected() error {
	status := s.store.Status()
	if status.Connected {
		return nil
	}
	if status.LastError == "" {
		return fmt.Errorf("%w: %w", cluster.ErrUnreachable, agent.ErrNotYet)
	}
	return fmt.Errorf("%w since %s: %s", cluster.ErrUnreachable, status.Since.Format(time.RFC3339), status.LastError)
}
