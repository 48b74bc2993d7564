package ops

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// NotifyReady tells systemd that the start is complete. Without systemd it does nothing.
func NotifyReady() error { return notify(daemon.SdNotifyReady) }

// NotifyStopping tells systemd that the process is about to end. Without systemd it does nothing.
func NotifyStopping() error { return notify(daemon.SdNotifyStopping) }

func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("tell systemd %s: %w", state, err)
	}
	return nil
}

// Watchdog tells systemd that the process is alive, twice per watchdog period, while healthy returns nil; systemd
// restarts a process it has not heard from for a period. It blocks until ctx ends and returns nil when cancelled;
// where systemd asked for no watchdog it only waits.
func Watchdog(ctx context.Context, healthy func() error) error {
	period, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("systemd watchdog: %w", err)
	}
	if period == 0 {
		<-ctx.Done()
		return nil
	}
	watch(ctx, period/2, healthy, func() { _ = notify(daemon.SdNotifyWatchdog) })
	return nil
}

// watch pings at once and then each interval. A ping that fails is not the end: the socket may be back for the next
// one, and if not, the restart by systemd is what the watchdog is for.
func watch(ctx context.Context, every time.Duration, healthy func() error, ping func()) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if healthy() == nil {
			ping()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
