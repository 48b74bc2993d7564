package main

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/rules"
)

// The exit codes, as "weir help" documents them.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitUnsafe      = 3
	exitConflict    = 4
	exitUnreachable = 5
	exitTimeout     = 6
)

const exitHelp = `Exit codes:
  0  ok
  1  error
  2  wrong usage; for "plan --detailed-exitcode": something would change
  3  refused as unsafe
  4  conflict: somebody else has, or changed, what is asked for
  5  etcd cannot be reached
  6  timed out waiting`

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitCode is what an error means to a script.
func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, new(usageError)):
		return exitUsage
	case errors.Is(err, cluster.ErrUnsafe):
		return exitUnsafe
	case errors.Is(err, cluster.ErrConflict), errors.Is(err, rules.ErrOwned):
		return exitConflict
	case errors.Is(err, controlcenter.ErrTimeout):
		return exitTimeout
	case errors.Is(err, cluster.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	}
	return exitError
}

// printable keeps what others wrote from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
