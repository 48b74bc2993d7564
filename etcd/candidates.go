package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Candidacy is one that stands for election; of several, the first leads.
type Candidacy struct {
	Leader
	Term int64 // the revision of its key: the next leader's is higher
}

// Candidates are all that stand for election, the one that leads first. One whose key cannot be read is there without a name.
func (s *Store) Candidates(ctx context.Context) ([]Candidacy, error) {
	var out []Candidacy
	err := s.do(ctx, "ask who leads", func(ctx context.Context, c *clientv3.Client) error {
		oldest := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend)}
		r, err := c.Get(ctx, s.prefix+leaderKeys, oldest...)
		if err != nil {
			return err
		}
		out = nil
		for _, kv := range r.Kvs {
			one := Candidacy{Term: kv.CreateRevision}
			if l, err := decodeReport[Leader](kv.Value); err == nil {
				one.Leader = *l
			}
			out = append(out, one)
		}
		return nil
	})
	return out, err
}
