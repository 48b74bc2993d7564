package shim

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	drainTime = time.Second // for the end of the output of what has ended
	drains    = 5           // such times, while there is something to be read
)

// drain waits for the end of the output. Somebody outside of the tree may hold it open for ever. What the tree wrote before it
// ended is read in any case, also when this process did not get to it for a while.
func drain(copies *sync.WaitGroup, streams child) {
	done := make(chan struct{})
	go func() { copies.Wait(); close(done) }()
	for range drains {
		select {
		case <-done:
			return
		case <-time.After(drainTime):
		}
		if !waits(streams.stdout) && !waits(streams.stderr) {
			break
		}
	}
	streams.stdout.Close()
	streams.stderr.Close()
	<-done
}

// waits says whether something that was written to a pipe was not read yet.
func waits(pipe *os.File) bool {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return false
	}
	bytes := 0
	err = raw.Control(func(fd uintptr) { bytes, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return err == nil && bytes > 0
}
