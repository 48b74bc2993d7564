package sample

import (
	"time"

	"github.com/weir-lb/weir/loadmon"
)

// Usage is what an instance uses: its process, with the control group that this is in, or without one with its children.
type Usage struct {
	CPU    time.Duration // ran, so far
	Waited time.Duration // wanted to run and could not, all of its threads at once (pressure "full"); 0 where the kernel does not say
	Quota  float64       // processors that it may use; 0: no quota
	Source string        // where CPU comes from: "cgroup v2", "cgroup v1" or "process"

	Memory      uint64 // bytes that it holds; what the kernel would give up first is left out
	MemoryLimit uint64 // 0: none
	Files       uint64 // open files of the process that is nearest to its limit
	FilesLimit  uint64 // of that process; 0: none
}

// Busy is the part of the time between two Usages in which it worked or wanted to, on a machine with a number of
// processors. Usage alone is blind to a neighbour: beside a hog on its processor it reads 0.47 where this reads 0.99.
func Busy(before, after Usage, elapsed time.Duration, processors int) float64 {
	if elapsed <= 0 || processors < 1 || after.CPU < before.CPU || after.Waited < before.Waited || after.Source != before.Source {
		return loadmon.MinBusy // restarted: the next interval knows more
	}
	used, wall := (after.CPU - before.CPU).Seconds(), elapsed.Seconds()
	busy := used/wall/float64(processors) + (after.Waited-before.Waited).Seconds()/wall
	if after.Quota > 0 {
		busy = max(busy, used/wall/after.Quota)
	}
	return min(max(busy, loadmon.MinBusy), 1)
}

// Pressure is the part of the time between two Usages in which it wanted to run and could not.
func Pressure(before, after Usage, elapsed time.Duration) float64 {
	if elapsed <= 0 || after.Waited < before.Waited || after.Source != before.Source {
		return 0
	}
	return min((after.Waited-before.Waited).Seconds()/elapsed.Seconds(), 1)
}
