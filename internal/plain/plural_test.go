package plain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/plain"
)

func TestPlural(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"0 nodes", "1 node", "2 more nodes"}, []string{plain.Plural(0, "node"), plain.Plural(1, "node"), plain.Plural(2, "more node")})
}
