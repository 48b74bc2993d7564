package underway

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestPassed(t *testing.T) {
	require.NoError(t, Passed(t.Context()))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, Passed(ended), context.Canceled)
}

// Where the kernel is not asked, or does not answer, packets get their time.
func TestPassedWithoutTheKernel(t *testing.T) {
	refuse := func() error { return unix.EINVAL }
	require.NoError(t, passed(t.Context(), refuse))
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("x"))
	require.ErrorIs(t, passed(ended, refuse), context.Canceled)
}
