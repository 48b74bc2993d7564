// Package jump is for tests of what must not follow jumps of the wall clock.
package jump

import (
	"time"
	"unsafe"
)

// Wall is a time as time.Now reads it after somebody has set the wall clock by so many hours: the 33 bits above the nanoseconds
// are the wall's seconds, the monotonic reading lies elsewhere. The time has to have one.
func Wall(at time.Time, hours int) time.Time {
	*(*uint64)(unsafe.Pointer(&at)) += uint64(hours*3600) << 30
	return at
}
