package etcd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// maxEventBytes bounds one event: with more, its figures are left out.
const maxEventBytes = 32 << 10

// noted lays out the events among the decisions: each is put, and what is older than the newest of its service goes in
// the same transaction. The number of an event is the first revision that it can get. One leader at a time writes
// events, one transaction after the other, so numbers rise, and the same event sent twice is one.
func (l *Leadership) noted(ctx context.Context, decisions []cluster.Decision) (then []clientv3.Op, err error) {
	seen := map[string]bool{}
	var old []clientv3.Op
	for _, d := range decisions {
		e, ok := d.(cluster.Event)
		if !ok {
			continue
		}
		if seen[e.Service] {
			return nil, fmt.Errorf("two events of service %s in one transaction", printable(e.Service))
		}
		seen[e.Service] = true
		key := Key{Kind: KindEvent, Service: e.Service}
		if err := key.Valid(); err != nil {
			return nil, err
		}
		keys, revision, err := l.store.eventKeys(ctx, e.Service)
		if err != nil {
			return nil, err
		}
		key.Revision, e.Revision = revision+1, revision+1
		value, err := encodeEvent(e)
		if err != nil {
			return nil, err
		}
		then = append(then, clientv3.OpPut(l.store.key(key), string(value)))
		for _, k := range keys[:max(0, len(keys)-cluster.MaxEvents+1)] {
			old = append(old, clientv3.OpDelete(l.store.key(k)))
		}
	}
	return append(then, chunked(old[:min(len(old), maxOld)])...), nil
}

// maxOld bounds how many events one transaction deletes; more of them, which somebody else wrote, go with the next ones.
const maxOld = 2 * cluster.MaxEvents

func encodeEvent(e cluster.Event) ([]byte, error) {
	if !e.In.Sound() || !e.Out.Sound() {
		return nil, fmt.Errorf("an event of service %s has figures of something that is no instance", printable(e.Service))
	}
	value, err := encode(e)
	if err != nil || len(value) <= maxEventBytes {
		return value, err
	}
	e.In, e.Out, e.Cut = nil, nil, true
	if value, err = encode(e); err == nil && len(value) > maxEventBytes {
		err = fmt.Errorf("an event of service %s has %d bytes even without figures: shorten its reason", printable(e.Service), len(value))
	}
	return value, err
}

// eventKeys are those of one service, the oldest first, and the revision at which that is so.
func (s *Store) eventKeys(ctx context.Context, service string) (keys []Key, revision int64, err error) {
	err = s.do(ctx, "look for older events", func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.Get(ctx, s.prefix+eventPrefix(service), clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return err
		}
		keys, revision = nil, r.Header.Revision
		for _, kv := range r.Kvs {
			if k, err := ParseKey(strings.TrimPrefix(string(kv.Key), s.prefix)); err == nil {
				keys = append(keys, k)
			}
		}
		return nil
	})
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.Revision, b.Revision) })
	return keys, revision, err
}

// eventPrefix is where the events of a service are, or of all for "".
func eventPrefix(service string) string {
	if service == "" {
		return "ops/events/"
	}
	return "ops/events/" + service + "/"
}

// Events are those of a service, or of all for "", the oldest first. Values that cannot be read are left out.
func (s *Store) Events(ctx context.Context, service string) ([]cluster.Event, error) {
	var kept []keptEvent
	err := s.do(ctx, "read the events", func(ctx context.Context, c *clientv3.Client) (err error) {
		kept, _, err = s.listEvents(ctx, c, service)
		return err
	})
	return inOrder(kept), err
}

// keptEvent is an event with the revision that it was written at.
type keptEvent struct {
	cluster.Event
	modded int64
}

// eventPage is how many events are read at once: with all at their largest, 3 MiB.
const eventPage = 100

func (s *Store) listEvents(ctx context.Context, c *clientv3.Client, service string) ([]keptEvent, int64, error) {
	var out []keptEvent
	var revision int64
	from := s.prefix + eventPrefix(service)
	for end := clientv3.GetPrefixRangeEnd(from); ; {
		r, err := c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(eventPage), clientv3.WithRev(revision))
		if err != nil {
			return nil, 0, err
		}
		revision = cmp.Or(revision, r.Header.Revision)
		for _, kv := range r.Kvs {
			out = append(out, s.event(kv)...)
			from = string(kv.Key) + "\x00"
		}
		if !r.More {
			return out, revision, nil
		}
	}
}

// inOrder is the oldest first.
func inOrder(kept []keptEvent) []cluster.Event {
	out := make([]cluster.Event, len(kept))
	for i, k := range kept {
		out[i] = k.Event
	}
	slices.SortStableFunc(out, func(a, b cluster.Event) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Service, b.Service))
	})
	return out
}

// event is one, or none where it cannot be read. Number and service are those of the key, whatever the value says.
func (s *Store) event(kv *mvccpb.KeyValue) []keptEvent {
	k, err := ParseKey(strings.TrimPrefix(string(kv.Key), s.prefix))
	if err != nil || k.Kind != KindEvent {
		return nil
	}
	e, err := decodeReport[cluster.Event](kv.Value)
	if err != nil {
		return nil
	}
	e.Service, e.Revision = k.Service, k.Revision
	if !e.In.Sound() || !e.Out.Sound() {
		e.In, e.Out, e.Cut = nil, nil, true // nobody but a slip or malice names an instance so
	}
	return []keptEvent{{*e, kv.ModRevision}}
}
