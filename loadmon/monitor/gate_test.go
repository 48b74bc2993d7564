package monitor

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Those who come while the token is read for the first of them wait for the same answer: etcd is asked once, also when the
// first one goes away meanwhile.
func TestManyAtOnceWithATokenThatIsNotKnownYet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		right := strings.Repeat("r", 40)
		var asked atomic.Int32
		g := &gate{log: slog.New(slog.DiscardHandler), secret: func(ctx context.Context) (string, error) {
			asked.Add(1)
			time.Sleep(100 * time.Millisecond)
			return right, ctx.Err()
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var admitted atomic.Int32
		var all sync.WaitGroup
		come := func(ctx context.Context, token string) {
			r := httptest.NewRequestWithContext(ctx, "GET", "/v1/load", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			all.Go(func() {
				if g.admits(r) {
					admitted.Add(1)
				}
			})
			synctest.Wait()
		}
		come(ctx, right)
		cancel()
		for range 8 {
			come(t.Context(), right)
		}
		come(t.Context(), "wrong")
		all.Wait()
		require.EqualValues(t, 9, admitted.Load())
		require.EqualValues(t, 1, asked.Load())
	})
}
