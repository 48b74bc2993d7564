package lab

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPulse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		elapsed := Pulse(t)
		require.Zero(t, elapsed())
		time.Sleep(time.Second + pulse/2) // of the bubble
		require.Equal(t, time.Second, elapsed())
	})
}
