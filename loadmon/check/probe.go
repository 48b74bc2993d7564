package check

import (
	"context"
	"fmt"
	"io"
	"time"
)

// stopped is how much later than its timeout a check may end. One that ends later did not run for a while, nor did the
// whole process, so that the timeout says nothing of the instance.
const stopped = time.Second

// stoppedReason is what is said of such a check.
const stoppedReason = "this node did not get to run it"

// run makes one check, within its timeout.
func run(ctx context.Context, t task) Outcome { return timed(ctx, t, time.Now(), probe) }

func timed(ctx context.Context, t task, began time.Time, probe func(context.Context, task) Outcome) Outcome {
	timeout := t.timeout()
	limited, cancel := context.WithDeadline(ctx, began.Add(timeout))
	defer cancel()
	o := probe(limited, t)
	o.Took = time.Since(began)
	if o.Kind == Bad && o.Took > timeout+stopped {
		o.Kind, o.Reason = Unknown, stoppedReason
	}
	return o
}

// hear reads and judges the answer to a question; what has to be said to hear the rest goes out.
func hear(ctx context.Context, t task, from io.Reader, to io.Writer) Outcome {
	if t.check.HTTP != nil {
		return hearHTTP(ctx, t, from)
	}
	return hearHealth(ctx, t, from, to)
}

func probe(ctx context.Context, t task) Outcome {
	switch kind := t.check.Kind(); kind {
	case "tcp":
		return probeTCP(ctx, t)
	case "http":
		return probeHTTP(ctx, t)
	case "grpc":
		return probeGRPC(ctx, t)
	case "exec":
		return probeExec(ctx, t)
	default:
		return Outcome{Kind: Unknown, Reason: fmt.Sprintf("checks of kind %q are not known here", kind)}
	}
}
