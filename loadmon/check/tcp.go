package check

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// probeTCP is well when the connection is accepted.
func probeTCP(ctx context.Context, t task) Outcome {
	o, fd := tryTCP(ctx, t)
	if fd < 0 {
		return o
	}
	return awaitTCP(ctx, t, fd)
}

// tryTCP does not wait. Where that is too early to tell, it gives the socket to wait on, and else -1.
func tryTCP(ctx context.Context, t task) (o Outcome, fd int) {
	began := time.Now()
	fd, err := begin(t.address)
	if err == nil {
		var done bool
		if done, err = connected(fd); !done {
			return Outcome{}, fd
		}
		_ = unix.Close(fd)
	}
	if o = (Outcome{Kind: Good}); err != nil {
		o = failed(ctx, err, t.timeout())
	}
	o.Took = time.Since(began)
	return o, -1
}

// awaitTCP waits for such a socket.
func awaitTCP(ctx context.Context, t task, fd int) Outcome {
	_, end, err := adopt(ctx, fd)
	if err != nil {
		return failed(ctx, err, t.timeout())
	}
	end()
	return Outcome{Kind: Good}
}
