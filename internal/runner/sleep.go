package runner

import (
	"context"
	"time"
)

// Sleep waits and says true; when the context ends first, it says false at once.
func Sleep(ctx context.Context, d time.Duration) bool {
	at, stop := After(d)
	defer stop()
	select {
	case <-ctx.Done():
		return false
	case <-at:
		return true
	}
}
