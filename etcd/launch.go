package etcd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// Launching keeps ops/launchers/<node> on a lease until the context ends, and returns nil then, as Alive does.
func (s *Store) Launching(ctx context.Context, node string, l cluster.Launcher) error {
	return s.stay(ctx, Key{Kind: KindLauncher, Node: node}, l)
}

// WatchAssigned tells fn what a node's launcher is to keep, by instance id: once at the beginning, and at each change, with a
// map of its own. It runs until the context ends, and returns nil then; it returns an error where it may not look. A value
// that cannot be read is told as a Problem of its key, and the instance as it was before.
func (s *Store) WatchAssigned(ctx context.Context, node string, fn func(map[string]cluster.Assignment, []cluster.Problem)) error {
	if err := (Key{Kind: KindLauncher, Node: node}).Valid(); err != nil {
		return fmt.Errorf("watch what node %s is to launch: %w", printable(node), err)
	}
	from := s.prefix + "ops/assign/" + node + "/"
	assigned, problems := map[string]cluster.Assignment{}, map[string]cluster.Problem{}
	listed := map[string]bool{}
	m := &mirror{
		store: s, doing: "watch ops/assign/" + node, from: from, to: clientv3.GetPrefixRangeEnd(from),
		clear: func() { clear(listed) },
		put: func(k Key, kv *mvccpb.KeyValue) {
			listed[k.ID] = true
			a, err := decodeReport[cluster.Assignment](kv.Value)
			if err != nil {
				problems[k.ID] = *malformed(k.String(), err)
				return
			}
			delete(problems, k.ID)
			assigned[k.ID] = *a
		},
		remove: func(k Key) { delete(listed, k.ID) },
		tell: func(int64) bool {
			maps.DeleteFunc(assigned, func(id string, _ cluster.Assignment) bool { return !listed[id] })
			maps.DeleteFunc(problems, func(id string, _ cluster.Problem) bool { return !listed[id] })
			fn(maps.Clone(assigned), sortedProblems(problems))
			return false
		},
	}
	return m.run(ctx)
}

// Launched writes how an instance of a node is; nil forgets it.
func (s *Store) Launched(ctx context.Context, node, id string, l *cluster.Launched) error {
	return s.own(ctx, Key{Kind: KindStatus, Node: node, ID: id}, "tell how instance "+printable(id)+" is", present(l))
}

// Introduce writes how an instance of a node is of which nothing is written.
func (s *Store) Introduce(ctx context.Context, node, id string, l cluster.Launched) error {
	key := Key{Kind: KindStatus, Node: node, ID: id}
	return s.own(ctx, key, "tell of instance "+printable(id), l, clientv3.Compare(clientv3.CreateRevision(s.key(key)), "=", 0))
}

// Register writes an instance of a node's own under net/, where every agent sees it; nil takes it back.
func (s *Store) Register(ctx context.Context, node, service, id string, i *cluster.Instance) error {
	return s.own(ctx, Key{Kind: KindInstance, Node: node, Service: service, ID: id}, "register instance "+printable(id), present(i))
}

// Wake tells that somebody connects to a service that has no instance.
func (s *Store) Wake(ctx context.Context, node, service string) error {
	return s.own(ctx, Key{Kind: KindWake, Service: service}, "wake service "+printable(service), cluster.Wake{At: time.Now().UTC(), Node: node})
}

// own writes one key that is this node's alone, or deletes it for nil, if the conditions hold.
func (s *Store) own(ctx context.Context, key Key, doing string, v any, conditions ...clientv3.Cmp) error {
	op, err := s.placed(key, v)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return s.do(ctx, doing, func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.Txn(ctx).If(conditions...).Then(op).Commit()
		if err == nil {
			s.horizon.note(r.Header.Revision)
		}
		return err
	})
}

func sortedProblems(problems map[string]cluster.Problem) (out []cluster.Problem) {
	for _, id := range slices.Sorted(maps.Keys(problems)) {
		out = append(out, problems[id])
	}
	return out
}
