package plain_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/plain"
)

func TestFew(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "e", "f", "g"}
	require.Empty(t, plain.Few(nil))
	require.Equal(t, "a", plain.Few(names[:1]))
	require.Equal(t, "a, b, c, d, e", plain.Few(names[:5]))
	require.Equal(t, "a, b, c, d, e and 1 more", plain.Few(names[:6]))
	require.Equal(t, "a, b, c, d, e and 2 more", plain.Few(names))
}
