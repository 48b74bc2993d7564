package launcher

import (
	"context"
	"errors"
	"time"
)

// Driver runs instances. All methods may be called at the same time.
type Driver interface {
	// Ensure lets the instance run: started when it is not there or has ended, left alone when it runs. When it returns
	// an error, nothing runs that did not run before. It returns ErrDiffers when the id runs by another Spec.
	Ensure(ctx context.Context, spec Spec) error

	// Stop asks the instance to end, ends it with all that it started once the grace is over, and forgets it. An
	// instance that is not there is stopped already. When ctx ends first, the stop goes on: ask again how it went.
	Stop(ctx context.Context, id string, grace time.Duration) error

	// List tells of all instances that were ensured and not stopped, by id, also of those that have ended. What it
	// could not look at is in the error, and the rest is told.
	List(ctx context.Context) ([]Status, error)
}

// What a driver answers when it does not start an instance. Callers ask with errors.Is.
var (
	ErrRefused  = errors.New("refused")                             // by the Spec's own mistakes or by the node's owner: asking again does not help
	ErrDiffers  = errors.New("the id is taken by another one")      // stop that one first
	ErrPortBusy = errors.New("the port is in use")                  // choose another; BusyPort says which
	ErrAbsent   = errors.New("it is not there")                     // of an instance that is only looked at
	ErrOwned    = errors.New("another launcher has this directory") // of opening a driver
	ErrUnsafe   = errors.New("it is not safe from others")          // a directory or file that somebody else may change
	ErrUntrue   = errors.New("its answers cannot be true")          // of a hook
)
