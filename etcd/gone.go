package etcd

import (
	"context"

	"github.com/weir-lb/weir/cluster"
)

// Gone is what the leader makes of the nodes whose agent is not in touch. Values that cannot be read are left out.
func (s *Store) Gone(ctx context.Context) (map[string]cluster.Gone, error) {
	return reports[cluster.Gone](ctx, s, "read which nodes are gone", "ops/gone/")
}
