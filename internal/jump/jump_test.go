package jump

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWall(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, hours := range []int{1, -1} {
		at := Wall(now, hours)
		require.Zero(t, at.Sub(now), "the monotonic clock did not jump")
		require.Equal(t, time.Duration(hours)*time.Hour, at.Round(0).Sub(now.Round(0)))
	}
}
