package etcd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// keys are all keys of the store with their values.
func keys(t testing.TB, s *Store) map[string]string {
	t.Helper()
	r, err := raw(t, s).Get(t.Context(), s.prefix, clientv3.WithPrefix())
	require.NoError(t, err)
	out := map[string]string{}
	for _, kv := range r.Kvs {
		out[strings.TrimPrefix(string(kv.Key), s.prefix)] = string(kv.Value)
	}
	return out
}
