package lab

import (
	"sync/atomic"
	"time"
)

// pulse is how long it sleeps each time.
const pulse = 10 * time.Millisecond

// Pulse starts a clock that stands still while the machine has no time for this process: it counts sleeps. A bound on what
// it says holds also where many others run, and is as good as one on the time where nobody does.
func Pulse(t TB) (elapsed func() time.Duration) {
	var sleeps atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(pulse):
				sleeps.Add(1)
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped })
	return func() time.Duration { return time.Duration(sleeps.Load()) * pulse }
}
