package etcd

import (
	"context"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

const (
	netKeys  = "net/"
	pageSize = 1000
)

// listing is all of net/ at one revision.
type listing struct {
	revision int64
	entries  []entry
}

// entry is one key, relative to the prefix, as etcd holds it.
type entry struct {
	key             string
	value           []byte
	created, modded int64
}

// Snapshot reads all of net/ at one revision, which is the Revision of the result: a change that was committed before
// is in it, deletions included, whatever the highest revision of the keys that are left.
func (s *Store) Snapshot(ctx context.Context) (*cluster.Snapshot, error) {
	var l listing
	err := s.do(ctx, "list "+s.prefix+netKeys, func(ctx context.Context, c *clientv3.Client) (err error) {
		l, err = s.list(ctx, c)
		return err
	})
	if err != nil {
		return nil, err
	}
	v := newView()
	v.list(l)
	return v.snapshot(), nil
}

// list reads page after page at the revision of the first page. Small pages keep etcd answering others in between.
func (s *Store) list(ctx context.Context, c *clientv3.Client) (listing, error) {
	var l listing
	from, to := s.prefix+netKeys, clientv3.GetPrefixRangeEnd(s.prefix+netKeys)
	for {
		limited, cancel := context.WithTimeout(ctx, patience)
		r, err := c.Get(limited, from, clientv3.WithRange(to), clientv3.WithLimit(pageSize), clientv3.WithRev(l.revision))
		cancel()
		if err != nil {
			return listing{}, err
		}
		s.horizon.note(r.Header.Revision)
		if l.revision == 0 {
			l.revision = r.Header.Revision
		}
		for _, kv := range r.Kvs {
			l.entries = append(l.entries, s.entry(kv))
		}
		if !r.More {
			return l, nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
	}
}

func (s *Store) entry(kv *mvccpb.KeyValue) entry {
	return entry{strings.TrimPrefix(string(kv.Key), s.prefix), kv.Value, kv.CreateRevision, kv.ModRevision}
}
