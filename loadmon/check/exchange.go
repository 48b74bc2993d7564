package check

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// exchange is a question to an instance of this host, on a connection of its own, and what was heard of the answer so far.
type exchange struct {
	due
	began  time.Time
	fd     int
	unsaid []byte // of the question: the connection was not made at once

	heard []byte
	end   error // of what comes; nil: more may
	read  int   // of what was heard
	short bool  // more was wanted
}

const (
	promptly  = 100 * time.Millisecond // how long several are waited for together
	promptLen = 16 << 10               // bytes of an answer that are kept meanwhile
)

// asks says whether the check is a question that can be put without waiting.
func (t task) asks() bool {
	return t.own && (t.check.HTTP != nil && t.check.HTTP.TLS == nil || t.check.GRPC != nil && t.check.GRPC.TLS == nil)
}

// conversation is several of them at a time: a goroutine for each, with its timers and its place in the runtime's poller, costs
// more than the question. Answers that do not come promptly are waited for in that way.
type conversation struct {
	ran    func(due, Outcome)
	probes *sync.WaitGroup
	open   []*exchange
	buffer []byte
}

// converse asks one after the other, and waits for all answers together.
func converse(ctx context.Context, asked []due, ran func(due, Outcome), probes *sync.WaitGroup) {
	c := conversation{ran: ran, probes: probes, buffer: make([]byte, promptLen)}
	for _, d := range asked {
		e := &exchange{due: d, began: time.Now()}
		if err := e.ask(); err != nil {
			c.over(e, failed(ctx, err, d.task.timeout()))
			continue
		}
		c.open = append(c.open, e)
	}
	for until := time.Now().Add(promptly); len(c.open) > 0 && ctx.Err() == nil && time.Now().Before(until); {
		c.hear(ctx, time.Until(until))
	}
	for _, e := range c.open {
		c.leave(ctx, e)
	}
}

// hear waits until some have answered, and takes up what they said.
func (c *conversation) hear(ctx context.Context, wait time.Duration) {
	set := make([]unix.PollFd, len(c.open))
	for i, e := range c.open {
		set[i] = unix.PollFd{Fd: int32(e.fd), Events: unix.POLLIN}
	}
	if n, err := unix.Poll(set, int(wait/time.Millisecond)+1); err != nil || n == 0 {
		return // interrupted, or nobody did
	}
	open := c.open[:0]
	for i, e := range c.open {
		if set[i].Revents == 0 {
			open = append(open, e)
			continue
		}
		e.hear(c.buffer)
		if len(e.heard) >= promptLen {
			c.leave(ctx, e)
		} else if o := e.answer(ctx); e.short {
			open = append(open, e)
		} else {
			_ = unix.Close(e.fd)
			c.over(e, o)
		}
	}
	c.open = open
}

func (c *conversation) over(e *exchange, o Outcome) {
	o.Took = time.Since(e.began)
	c.ran(e.due, o)
}

// leave has one waited for alone.
func (c *conversation) leave(ctx context.Context, e *exchange) {
	c.probes.Go(func() { c.ran(e.due, timed(ctx, e.task, e.began, e.await)) })
}

// ask says as much as can be said at once.
func (e *exchange) ask() (err error) {
	if e.fd, err = begin(e.task.address); err != nil {
		return err
	}
	e.unsaid = e.task.ask()
	n, err := unix.Write(e.fd, e.unsaid)
	switch {
	case err == nil:
		e.unsaid = e.unsaid[n:]
	case err != unix.EAGAIN && err != unix.EINTR:
		_ = unix.Close(e.fd)
		return err
	}
	return nil
}

// hear takes up what has come.
func (e *exchange) hear(buffer []byte) {
	n, err := unix.Read(e.fd, buffer)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
	case err != nil:
		e.end = err
	case n == 0:
		e.end = io.EOF
	default:
		e.heard = append(e.heard, buffer[:n]...)
	}
}

// answer judges what was heard. Where that is too short for a judgement, it is none.
func (e *exchange) answer(ctx context.Context) Outcome {
	e.read, e.short = 0, false
	return hear(ctx, e.task, e, io.Discard)
}

var errShort = errors.New("the rest has not come yet")

// Read gives what was heard, once more.
func (e *exchange) Read(p []byte) (n int, err error) {
	if n = copy(p, e.heard[e.read:]); n > 0 || len(p) == 0 {
		e.read += n
		return n, nil
	}
	if e.short = e.end == nil; e.short {
		return 0, errShort
	}
	return 0, e.end
}

// await goes on until the context ends.
func (e *exchange) await(ctx context.Context, t task) Outcome {
	conn, end, err := adopt(ctx, e.fd)
	if err != nil {
		return failed(ctx, err, t.timeout())
	}
	defer end()
	if len(e.unsaid) > 0 {
		if _, err := conn.Write(e.unsaid); err != nil {
			return failed(ctx, err, t.timeout())
		}
	}
	return hear(ctx, t, io.MultiReader(bytes.NewReader(e.heard), conn), conn)
}
