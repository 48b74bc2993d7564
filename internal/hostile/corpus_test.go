package hostile

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWords(t *testing.T) {
	t.Parallel()
	words := Words()
	require.Len(t, words, 1000)
	require.Equal(t, words, Words())
	slices.Sort(words)
	require.Equal(t, 1000, len(slices.Compact(words)), "each is another")
}
