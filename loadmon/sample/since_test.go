package sample

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSince(t *testing.T) {
	t.Parallel()
	require.Equal(t, uint64(0), Since(7, 7))
	require.Equal(t, uint64(3), Since(4, 7))
	require.Equal(t, uint64(7), Since(8, 7), "it began anew")
}
