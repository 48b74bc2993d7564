package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// Outcome is what one check showed.
type Outcome struct {
	Kind   Kind
	Reason string // why it is not Good
	Output string // what the instance answered, printable
	Took   time.Duration
}

// Kind of an Outcome.
type Kind uint8

// The kinds of outcomes.
const (
	Unknown Kind = iota // the check could not be made, which says nothing of the instance
	Good
	Bad     // a timeout or a bad answer
	Refused // nobody listens there
)

// failed judges the error of a connection to an instance.
func failed(ctx context.Context, err error, timeout time.Duration) Outcome {
	var coded syscall.Errno
	errors.As(err, &coded)
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return Outcome{Kind: Unknown, Reason: "the check was stopped"}
	case coded == syscall.ECONNREFUSED:
		return Outcome{Kind: Refused, Reason: "connection refused"}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), coded == syscall.ETIMEDOUT:
		return Outcome{Kind: Bad, Reason: fmt.Sprintf("no answer within %s", timeout)}
	case ours(coded):
		return Outcome{Kind: Unknown, Reason: "this node cannot connect: " + coded.Error()}
	case coded != 0:
		return Outcome{Kind: Bad, Reason: coded.Error()}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Outcome{Kind: Bad, Reason: "it closes the connection before its answer is whole"}
	}
	return Outcome{Kind: Bad, Reason: line(err.Error())}
}

// ours says whether an error is this node's own: too many files, no memory, no free port, a local rule. It says nothing of
// the instance.
func ours(e syscall.Errno) bool {
	switch e {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL, syscall.EPERM, syscall.EACCES:
		return true
	}
	return false
}
