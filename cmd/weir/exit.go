package main

import (
	"context"
	"errors"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd/embedded"
	"github.com/weir-lb/weir/rules"
)

// exitHelp is shown by weir --help.
const exitHelp = `Exit codes:
  0  done
  1  an error: the message says what, why and what to do
  2  wrong usage; or, of "plan --detailed-exitcode", that something would change
  3  refused as unsafe
  4  conflict: a VIP is taken, somebody else changed it in between, or another agent has the node
  5  etcd cannot be reached
  6  timed out; of a change: it is written, but the nodes did not apply it in time
  7  of "doctor --check", that something is wrong; of "status", that something needs a person
  8  of "drain --wait": drained, but live connections were left when the time was up
  9  of "logs": what some nodes have is missing`

// usageError is a mistake in the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// errChanges is not an error: "plan --detailed-exitcode" says by it that something would change.
var errChanges = errors.New("something would change")

// errFound is not an error either: "doctor --check" and "status" say by it that something is wrong.
var errFound = errors.New("something is wrong")

func exitCode(err error) int {
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage), errors.Is(err, errChanges):
		return 2
	case errors.Is(err, controlcenter.ErrRemaining):
		return 8
	case errors.Is(err, controlcenter.ErrTimeout): // it may have others as its cause, but what matters is that it is written
		return 6
	case errors.Is(err, cluster.ErrUnsafe):
		return 3
	case errors.Is(err, cluster.ErrConflict), errors.Is(err, rules.ErrOwned), errors.Is(err, errSecondAgent), errors.Is(err, embedded.ErrInUse):
		return 4
	case errors.Is(err, cluster.ErrUnreachable):
		return 5
	case errors.Is(err, errFound):
		return 7
	case errors.Is(err, errIncomplete):
		return 9
	case errors.Is(err, context.DeadlineExceeded):
		return 6
	}
	return 1
}
