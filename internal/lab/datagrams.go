package lab

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"
)

// DatagramOptions says what UDP flow to keep up.
type DatagramOptions struct {
	Frontend netip.AddrPort
	Port     uint16        // the source port that the flow keeps; 0: any
	Interval time.Duration // between two datagrams, default 5ms
}

// DatagramResult tells how a UDP flow fares.
type DatagramResult struct {
	Sent, Answered int
	ByID           map[string]int // answers by instance
	Last           string         // the instance that answered last
	At             time.Time      // when
	LongestGap     time.Duration  // longest time without an answer, up to now
	LongestQuiet   time.Duration  // the same in intervals of datagrams that were sent meanwhile: while the machine has no time for this process it stands still
}

// Datagrams is a UDP flow from one socket, as a client has that opens one for good: it goes on sending whatever happens,
// so the kernel never forgets where the flow leads.
type Datagrams struct {
	ns    *Namespace
	o     DatagramOptions
	conn  *net.UDPConn
	quit  chan struct{}
	once  sync.Once
	loops sync.WaitGroup

	mu     sync.Mutex
	result DatagramResult
	since  int // how many were sent since the last answer
	ended  time.Time
}

// StartDatagrams opens the socket in a namespace and starts sending.
func StartDatagrams(ns *Namespace, o DatagramOptions) (*Datagrams, error) {
	if o.Interval <= 0 {
		o.Interval = 5 * time.Millisecond
	}
	d := &Datagrams{ns: ns, o: o, quit: make(chan struct{}), result: DatagramResult{ByID: map[string]int{}, At: time.Now()}}
	err := ns.Do(func() (err error) {
		d.conn, err = net.DialUDP("udp", &net.UDPAddr{Port: int(o.Port)}, net.UDPAddrFromAddrPort(o.Frontend))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("datagrams to %s: %w", o.Frontend, err)
	}
	d.loops.Go(d.send)
	d.loops.Go(d.receive)
	if err := ns.lab.track(d); err != nil {
		return nil, err
	}
	return d, nil
}

// Snapshot tells how the flow fares now.
func (d *Datagrams) Snapshot() DatagramResult {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.result
	r.ByID = maps.Clone(r.ByID)
	now := time.Now()
	if !d.ended.IsZero() {
		now = d.ended
	}
	r.LongestGap = max(r.LongestGap, now.Sub(r.At))
	return r
}

// Forget begins a new count of the longest gap and quiet, from now on.
func (d *Datagrams) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.result.LongestGap, d.result.At = 0, time.Now()
	d.result.LongestQuiet, d.since = 0, 0
}

// Stop ends the flow and returns the result. It may be called more than once.
func (d *Datagrams) Stop() DatagramResult {
	d.once.Do(func() {
		d.mu.Lock()
		d.ended = time.Now()
		d.mu.Unlock()
		close(d.quit)
		d.conn.Close()
	})
	d.loops.Wait()
	d.ns.lab.forget(d)
	return d.Snapshot()
}

// Close is Stop for those who do not look at the result.
func (d *Datagrams) Close() error {
	d.Stop()
	return nil
}

func (d *Datagrams) send() {
	tick := time.NewTicker(d.o.Interval)
	defer tick.Stop()
	for {
		select {
		case <-d.quit:
			return
		case <-tick.C:
		}
		// A refusal of an earlier datagram arrives here: the client goes on.
		_, _ = d.conn.Write([]byte("x"))
		d.mu.Lock()
		d.result.Sent++
		d.since++
		d.result.LongestQuiet = max(d.result.LongestQuiet, time.Duration(d.since)*d.o.Interval)
		d.mu.Unlock()
	}
}

func (d *Datagrams) receive() {
	buf := make([]byte, maxID+2)
	for {
		n, err := d.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // refused: a later one may be answered
		}
		id, _, _ := bytes.Cut(buf[:n], []byte(" "))
		d.answered(string(id))
	}
}

func (d *Datagrams) answered(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended.IsZero() {
		return
	}
	now := time.Now()
	r := &d.result
	r.Answered++
	r.ByID[id]++
	r.LongestGap = max(r.LongestGap, now.Sub(r.At))
	r.Last, r.At, d.since = id, now, 0
}
