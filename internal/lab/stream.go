package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// StreamOptions says what long-lived flow to open.
type StreamOptions struct {
	Frontend netip.AddrPort
	Interval time.Duration // between two numbers, default 5ms
	Timeout  time.Duration // to connect, and at Stop for answers still under way; default 3s
	Source   netip.Addr    // default: what the route says
}

// StreamResult tells how a flow fared.
type StreamResult struct {
	ID           string        // the instance at its other end
	Sent         int           // numbers sent
	Answered     int           // numbers that came back, in order
	LongestStall time.Duration // longest time without an answer, Interval included; up to now for a flow that stands still
	LongestQuiet time.Duration // the same in intervals of numbers that were sent meanwhile: while the machine has no time for this process it stands still
	Broken       bool          // it ended, or answered wrongly, before Stop
	Reason       string        // why it broke, as in Result.Failures
}

// Stream is one TCP connection that sends a number each interval and expects each back.
type Stream struct {
	ns    *Namespace
	o     StreamOptions
	conn  *net.TCPConn
	id    string
	quit  chan struct{}
	once  sync.Once
	loops sync.WaitGroup

	mu       sync.Mutex
	sent     int
	answered int
	underWay int // most numbers that waited for an answer at once
	stall    time.Duration
	last     time.Time // of the last answer
	ending   bool      // the end of the connection is our own doing
	broken   error
}

// StartStream connects from a namespace and starts sending.
func StartStream(ns *Namespace, o StreamOptions) (*Stream, error) {
	if o.Interval <= 0 {
		o.Interval = 5 * time.Millisecond
	}
	load, err := Load{Frontend: o.Frontend, Timeout: o.Timeout, Source: o.Source}.withDefaults()
	if err != nil {
		return nil, err
	}
	o.Timeout = load.Timeout
	s := &Stream{ns: ns, o: o, quit: make(chan struct{})}
	if err := s.connect(load); err != nil {
		return nil, fmt.Errorf("stream to %s: %w", o.Frontend, err)
	}
	s.last = time.Now()
	s.loops.Go(s.send)
	s.loops.Go(s.receive)
	if err := ns.lab.track(s); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Stream) connect(load Load) error {
	ctx, cancel := context.WithTimeout(context.Background(), load.Timeout)
	defer cancel()
	err := s.ns.Do(func() error {
		conn, err := load.dialer().DialContext(ctx, "tcp", load.Frontend.String())
		if err != nil {
			return err
		}
		s.conn = conn.(*net.TCPConn)
		return nil
	})
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	err = s.conn.SetReadDeadline(deadline)
	if err == nil {
		s.id, err = readID(s.conn)
	}
	if err == nil {
		err = s.conn.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return errors.Join(err, s.conn.Close())
	}
	return nil
}

// ID returns the id of the instance at the other end.
func (s *Stream) ID() string { return s.id }

// Snapshot tells how the flow fares now.
func (s *Stream) Snapshot() StreamResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := StreamResult{ID: s.id, Sent: s.sent, Answered: s.answered, LongestStall: s.stall, LongestQuiet: time.Duration(s.underWay) * s.o.Interval}
	if !s.ending && s.broken == nil {
		r.LongestStall = max(r.LongestStall, time.Since(s.last))
	}
	if s.broken != nil {
		r.Broken, r.Reason = true, reason(s.broken)
	}
	return r
}

// Stop ends sending, waits (at most Timeout) for the answers under way, closes and returns the result. Answers missing
// by then count as broken, with reason timeout. It may be called more than once.
func (s *Stream) Stop() StreamResult {
	s.once.Do(func() { close(s.quit) })
	s.loops.Wait()
	s.conn.Close()
	s.ns.lab.forget(s)
	return s.Snapshot()
}

// Close is Stop for those who do not look at the result.
func (s *Stream) Close() error {
	s.Stop()
	return nil
}

func (s *Stream) send() {
	tick := time.NewTicker(s.o.Interval)
	defer tick.Stop()
	number := make([]byte, 8)
	for {
		select {
		case <-s.quit:
			s.finish()
			return
		case <-tick.C:
		}
		s.mu.Lock()
		s.sent++
		s.underWay = max(s.underWay, s.sent-s.answered)
		binary.BigEndian.PutUint64(number, uint64(s.sent))
		s.mu.Unlock()
		if _, err := s.conn.Write(number); err != nil {
			s.end(err)
			return
		}
	}
}

// finish half-closes, so that the instance ends its side once it has echoed everything.
func (s *Stream) finish() {
	s.mu.Lock()
	s.ending = true
	if s.broken == nil {
		s.stall = max(s.stall, time.Since(s.last))
	}
	s.mu.Unlock()
	_ = s.conn.SetReadDeadline(time.Now().Add(s.o.Timeout))
	_ = s.conn.CloseWrite()
}

func (s *Stream) receive() {
	number := make([]byte, 8)
	for {
		_, err := io.ReadFull(s.conn, number)
		if err == nil {
			err = s.answer(binary.BigEndian.Uint64(number))
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

func (s *Stream) answer(number uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number != uint64(s.answered)+1 {
		return fmt.Errorf("%w: %d after %d", errAnswer, number, s.answered)
	}
	now := time.Now()
	s.answered++
	s.stall = max(s.stall, now.Sub(s.last))
	s.last = now
	return nil
}

// end notes why the flow broke, unless it ended as Stop wants it: everything echoed, then the end.
func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending && s.answered == s.sent && errors.Is(err, io.EOF) {
		return
	}
	if s.broken == nil {
		s.broken = err
		s.stall = max(s.stall, time.Since(s.last))
	}
	// The other loop must not wait for a connection that is over.
	s.conn.Close()
}
