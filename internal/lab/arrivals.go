package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Arrivals are an open load: each connection begins when it is due, whether or not those before it were answered, as
// clients do that know nothing of each other. So a queue shows in what they wait.
type Arrivals struct {
	Frontend netip.AddrPort
	Due      []time.Duration // since the start, ascending
	Timeout  time.Duration   // of one connection, since it was due; default 30s
	Open     int             // how many may be open at once, default 4096; a connection that is due beyond it fails
}

// Answer is what became of one of the Arrivals.
type Answer struct {
	ID   string        // of the instance that answered
	Took time.Duration // since it was due, up to the answer
	Err  error
}

var errTooManyOpen = errors.New("too many connections are open")

// PoissonArrivals draws the times of arrivals that know nothing of each other.
func PoissonArrivals(seed uint64, perSecond float64, length time.Duration) (due []time.Duration) {
	draw := rand.New(rand.NewPCG(seed, 1))
	for at := 0.0; ; {
		at += draw.ExpFloat64() / perSecond
		if at >= length.Seconds() {
			return due
		}
		due = append(due, time.Duration(at*float64(time.Second)))
	}
}

// Arrive opens the connections from a namespace, and returns their answers in the same order. All of them are opened by
// one thread, so that the client costs little of the processor that it shares with what it measures. When ctx ends early
// it returns ctx's error.
func Arrive(ctx context.Context, ns *Namespace, a Arrivals) ([]Answer, error) {
	if a.Timeout <= 0 {
		a.Timeout = 30 * time.Second
	}
	if a.Open <= 0 {
		a.Open = 4096
	}
	c := &crowd{Arrivals: a, answers: make([]Answer, len(a.Due)), waiting: map[int]*visitor{}}
	err := ns.Do(func() error { return c.run(ctx) })
	return c.answers, err
}

// crowd is a load under way.
type crowd struct {
	Arrivals
	answers []Answer
	begin   time.Time
	poll    int
	timer   int // a clock that poll watches: its own time-outs are counted in whole milliseconds
	next    int // of Due
	oldest  int // of Due: all before it are answered
	waiting map[int]*visitor
	buf     [maxID]byte
}

// visitor is one open connection.
type visitor struct {
	at        int // of Due
	connected bool
	answer    []byte
}

func (c *crowd) run(ctx context.Context) (err error) {
	if c.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	defer unix.Close(c.poll)
	if c.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return fmt.Errorf("timer: %w", err)
	}
	defer unix.Close(c.timer)
	if err := c.watch(unix.EPOLL_CTL_ADD, c.timer, unix.EPOLLIN); err != nil {
		return err
	}
	defer func() {
		for fd := range c.waiting {
			unix.Close(fd)
		}
	}()
	c.begin = time.Now()
	events := make([]unix.EpollEvent, 256)
	for c.next < len(c.Due) || len(c.waiting) > 0 {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := c.begins(); err != nil {
			return err
		}
		const look = 100 // ms, for the end of ctx and of those whose time is over
		n, err := unix.EpollWait(c.poll, events, look)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			c.happens(int(e.Fd), e.Events)
		}
		c.giveUp()
	}
	return nil
}

// begins opens what is due, and sets the clock for what is next.
func (c *crowd) begins() error {
	for c.next < len(c.Due) {
		wait := c.Due[c.next] - time.Since(c.begin)
		if wait > 0 {
			return unix.TimerfdSettime(c.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}, nil)
		}
		if err := c.open(c.next); err != nil {
			c.answers[c.next].Err = err
		}
		c.next++
	}
	return nil
}

func (c *crowd) open(at int) error {
	if len(c.waiting) >= c.Open {
		return errTooManyOpen
	}
	family, address := sockaddr(c.Frontend)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	// A reset at the end leaves no TIME_WAIT behind: there is one source port for each, and 28,000 of them.
	err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if err == nil {
		if err = unix.Connect(fd, address); errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	}
	if err == nil {
		err = c.watch(unix.EPOLL_CTL_ADD, fd, unix.EPOLLOUT)
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	c.waiting[fd] = &visitor{at: at}
	return nil
}

func sockaddr(a netip.AddrPort) (family int, address unix.Sockaddr) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func (c *crowd) watch(op, fd int, events uint32) error {
	err := unix.EpollCtl(c.poll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
	return wrap("epoll", err)
}

// happens lets one connection go on.
func (c *crowd) happens(fd int, events uint32) {
	if fd == c.timer {
		_, _ = unix.Read(fd, c.buf[:8])
		return
	}
	v := c.waiting[fd]
	if v == nil {
		return
	}
	if !v.connected {
		code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		if err == nil {
			err = c.watch(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN)
		}
		if v.connected = true; err != nil {
			c.done(fd, v, err)
		}
		return
	}
	c.read(fd, v)
}

func (c *crowd) read(fd int, v *visitor) {
	n, err := unix.Read(fd, c.buf[:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return
	case err != nil:
		c.done(fd, v, err)
		return
	}
	v.answer = append(v.answer, c.buf[:n]...)
	switch id, _, whole := bytes.Cut(v.answer, []byte("\n")); {
	case whole:
		c.answers[v.at].ID = string(id)
		c.done(fd, v, nil)
	case n == 0 || len(v.answer) >= maxID:
		c.done(fd, v, fmt.Errorf("%w: %q", errAnswer, v.answer))
	}
}

func (c *crowd) done(fd int, v *visitor, err error) {
	c.answers[v.at].Took, c.answers[v.at].Err = time.Since(c.begin)-c.Due[v.at], err
	unix.Close(fd)
	delete(c.waiting, fd)
}

// giveUp ends those whose time is over. They begin in the order of their times, so the oldest is looked at alone.
func (c *crowd) giveUp() {
	late := time.Since(c.begin) - c.Timeout
	if c.oldest >= c.next || c.Due[c.oldest] > late {
		return
	}
	for c.oldest < c.next && c.Due[c.oldest] <= late {
		c.oldest++
	}
	for fd, v := range c.waiting {
		if v.at < c.oldest {
			c.done(fd, v, unix.ETIMEDOUT)
		}
	}
}
