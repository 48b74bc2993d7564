package runner

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		at, _ := After(time.Minute)
		require.Equal(t, start.Add(time.Minute), <-at)
		never, stop := After(time.Minute)
		require.True(t, stop())
		time.Sleep(time.Hour)
		require.Empty(t, never)
		never, _ = Until(time.Time{})
		require.Nil(t, never)
	})
}

// Many wait at once for what is due: with timers the race detector would die of it.
func TestWhatIsDueNeedsNoTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var waiting sync.WaitGroup
		for range 4 {
			waiting.Go(func() {
				for range 50_000 {
					at, stop := After(0)
					<-at
					stop()
				}
			})
		}
		waiting.Wait()
	})
}
