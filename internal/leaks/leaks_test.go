package leaks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

func TestLeft(t *testing.T) {
	end := make(chan struct{})
	stay := func() { <-end }
	go stay()
	before := goleak.IgnoreCurrent()
	require.ErrorContains(t, left(0), "unexpected goroutines", "one stays")
	require.NoError(t, left(0, before), "unless it is known")

	// One that ends later than goleak would wait.
	time.AfterFunc(time.Second, func() { close(end) })
	require.NoError(t, left(time.Minute))
}
