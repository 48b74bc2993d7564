// Package underway waits for the packets that the kernel is deciding about.
package underway

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL of linux/membarrier.h.
const membarrierGlobal = 1

// long is what no packet takes, for kernels that cannot be asked: on a processor that was taken away from the host it can be
// milliseconds.
const long = 100 * time.Millisecond

// Passed returns when every packet that met the rules as they were at the call has come out of them, or with the context's
// error.
func Passed(ctx context.Context) error { return passed(ctx, barrier) }

// barrier has the kernel wait. Hooks run inside of an RCU read-side critical section, and membarrier(2) returns when those of now
// have ended: not where there is one processor only, where some run without a tick (nohz_full), or where it is forbidden.
func barrier() error {
	if runtime.NumCPU() == 1 {
		return unix.ENOTSUP
	}
	if _, _, err := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0); err != 0 {
		return err
	}
	return nil
}

func passed(ctx context.Context, barrier func() error) error {
	if barrier() == nil {
		return ctx.Err()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(long):
		return nil
	}
}
