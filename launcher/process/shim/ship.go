package shim

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/weir-lb/weir/launcher"
)

const (
	queueBytes   = 256 << 10
	datagramSize = 2000 // what every receiver of RFC 5426 takes is 480, what it should take 2048
	dialTimeout  = 5 * time.Second
	writeTimeout = 5 * time.Second
	longestPause = 30 * time.Second
)

// shipper sends lines to a log server as RFC 5424 says: over TCP each behind its length (RFC 6587), over UDP each in a
// datagram. It holds a bounded number of bytes; what comes on top is dropped and counted. A nil one drops all.
type shipper struct {
	network, address string
	host             string
	app, id          string

	mu      sync.Mutex
	queue   [][]byte
	bytes   int
	dropped uint64
	told    uint64 // of them, to the log server
	closed  bool
	wake    chan struct{} // of size one
	done    chan struct{} // closed when run returns
}

// newShipper is nil when there is no address.
func newShipper(spec launcher.Spec) (*shipper, error) {
	network, address, err := launcher.ParseLogAddress(spec.LogAddress)
	if err != nil || address == "" {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "-"
	}
	return &shipper{
		network: network, address: address, host: host, app: spec.Service, id: spec.ID,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}, nil
}

// The priorities of facility user: informational for what was said, error for what was complained.
var priorities = map[string]int{"stdout": 1*8 + 6, "stderr": 1*8 + 3}

// offer hands over one line. It never waits.
func (s *shipper) offer(at time.Time, stream string, line []byte) {
	if s == nil {
		return
	}
	message := s.message(at, priorities[stream], line)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes+len(message) > queueBytes || s.closed {
		s.dropped++
		return
	}
	s.queue, s.bytes = append(s.queue, message), s.bytes+len(message)
	s.poke()
}

func (s *shipper) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *shipper) message(at time.Time, priority int, text []byte) []byte {
	m := fmt.Appendf(nil, "<%d>1 %s %s %s %s - - ", priority, at.UTC().Format("2006-01-02T15:04:05.000000Z"), s.host, s.app, s.id)
	m = append(m, text...)
	if s.network == "udp" {
		return m[:min(len(m), datagramSize)]
	}
	return append(strconv.AppendInt(make([]byte, 0, len(m)+8), int64(len(m)), 10), append([]byte{' '}, m...)...)
}

// run sends until close. It connects when there is something to send, and again after a pause when that did not work.
func (s *shipper) run() {
	defer close(s.done)
	var conn net.Conn
	pause := time.Second
	for {
		message, open := s.next()
		if !open {
			break
		}
		if conn == nil {
			c, err := net.DialTimeout(s.network, s.address, dialTimeout)
			if err != nil {
				if s.rest(pause) {
					pause = min(2*pause, longestPause)
				}
				continue
			}
			conn, pause = c, time.Second
		}
		_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := conn.Write(message); err != nil {
			conn.Close() // a part of the message may have been sent: the stream is of no use
			conn = nil
			continue
		}
		s.sent()
	}
	if conn != nil {
		conn.Close()
	}
}

// next waits for the oldest message; false when there is none and never will be.
func (s *shipper) next() ([]byte, bool) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			defer s.mu.Unlock()
			return s.queue[0], true
		}
		if s.closed {
			s.mu.Unlock()
			return nil, false
		}
		s.mu.Unlock()
		<-s.wake
	}
}

// sent takes the oldest message off the queue, and lets the log server know of what is missing behind it.
func (s *shipper) sent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= len(s.queue[0])
	s.queue[0] = nil
	s.queue = s.queue[1:]
	if len(s.queue) == 0 && s.dropped > s.told {
		note := s.message(time.Now(), priorities["stderr"], fmt.Appendf(nil, "weir: %d lines were dropped here", s.dropped-s.told))
		s.told = s.dropped
		s.queue, s.bytes = append(s.queue, note), s.bytes+len(note)
	}
}

// rest waits between two attempts to connect; a close gives up what is left, and run ends.
func (s *shipper) rest(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		s.mu.Lock()
		if s.closed {
			s.dropped += uint64(len(s.queue))
			s.queue, s.bytes = nil, 0
			s.mu.Unlock()
			return false
		}
		s.mu.Unlock()
		select {
		case <-timer.C:
			return true
		case <-s.wake:
		}
	}
}

// close lets what is queued be sent, for a time that a stop can wait.
func (s *shipper) close(wait time.Duration) {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.poke()
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-time.After(wait):
	}
}

// losses are how many lines were not sent.
func (s *shipper) losses() uint64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}
