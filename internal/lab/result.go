package lab

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Result counts connections.
type Result struct {
	Connections int             // all that were tried
	Failed      int             // of these, those no instance answered
	Failures    map[string]int  // failed ones by reason: refused, timeout, reset, unreachable, denied, closed, ...
	ByID        map[string]int  // good ones by the instance that answered
	Latency     []time.Duration // of good ones: time to connect (TCP) or to the answer (UDP), in no order
}

// Good returns the number of connections that an instance answered.
func (r Result) Good() int { return r.Connections - r.Failed }

// Percentile returns the latency that p (0 to 1) of the good connections stay within; 0 without any.
func (r Result) Percentile(p float64) time.Duration {
	if len(r.Latency) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(r.Latency))
	i := int(p*float64(len(sorted))+0.5) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// String gives one line: totals, shares by instance, failures by reason.
func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d connections, %d failed", r.Connections, r.Failed)
	for _, reason := range slices.Sorted(maps.Keys(r.Failures)) {
		fmt.Fprintf(&b, " (%s: %d)", reason, r.Failures[reason])
	}
	for _, id := range slices.Sorted(maps.Keys(r.ByID)) {
		fmt.Fprintf(&b, ", %s %d", id, r.ByID[id])
	}
	return b.String()
}

func newResult() Result {
	return Result{Failures: map[string]int{}, ByID: map[string]int{}}
}

func (r *Result) good(id string, took time.Duration) {
	r.Connections++
	r.ByID[id]++
	r.Latency = append(r.Latency, took)
}

func (r *Result) failed(err error) {
	r.Connections++
	r.Failed++
	r.Failures[reason(err)]++
}

func (r *Result) add(other Result) {
	r.Connections += other.Connections
	r.Failed += other.Failed
	for k, n := range other.Failures {
		r.Failures[k] += n
	}
	for k, n := range other.ByID {
		r.ByID[k] += n
	}
	r.Latency = append(r.Latency, other.Latency...)
}

// reason sorts errors into the few kinds that say what the network did.
func reason(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return "reset"
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "denied"
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EADDRINUSE):
		return "no source port"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.Is(err, errAnswer):
		return "wrong answer"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	return err.Error()
}

var errAnswer = errors.New("not the answer of an instance")
