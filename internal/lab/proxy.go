package lab

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy stands between clients and a server and can fall silent, in one direction or both, as a frozen server does; it
// can delay what passes, and cut it off.
type Proxy struct {
	listener net.Listener
	dial     func() (net.Conn, error)
	mute     [2]atomic.Bool
	delay    atomic.Int64
	accepted atomic.Int64
	left     atomic.Int64 // answers until it goes deaf, if set
	lost     atomic.Int64 // what was read and not passed on, as often as it was read

	mu    sync.Mutex
	ended bool
	conns map[net.Conn]bool
	done  sync.WaitGroup
}

// Direction is the way that bytes take through a Proxy.
type Direction int

// The two of them.
const (
	Requests Direction = iota
	Answers
)

// StartProxy hands what arrives at a listener to connections that dial makes. Close ends both.
func StartProxy(l net.Listener, dial func() (net.Conn, error)) *Proxy {
	p := &Proxy{listener: l, dial: dial, conns: map[net.Conn]bool{}}
	p.done.Go(p.serve)
	return p
}

// Addr is where it listens.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// Accepted counts the connections so far.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// Mute loses all that goes one way from now on, while connections stay open. What is lost only a later Cut makes visible.
func (p *Proxy) Mute(way Direction, on bool) { p.mute[way].Store(on) }

// Freeze is Mute both ways.
func (p *Proxy) Freeze(on bool) {
	p.Mute(Requests, on)
	p.Mute(Answers, on)
}

// MuteAfter loses the answers from the n-th on.
func (p *Proxy) MuteAfter(n int) { p.left.Store(int64(n)) }

// Delay holds up, each way, what is read from now on.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Cut closes all connections; new ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// Close ends everything and waits for it.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.Cut()
	p.done.Wait()
	return err
}

func (p *Proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		server, err := p.dial()
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		p.done.Go(func() { p.pump(server, client, Requests) })
		p.done.Go(func() { p.pump(client, server, Answers) })
	}
}

// keep registers a pair for Cut; after Close there is nobody left to end it.
func (p *Proxy) keep(pair ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range pair {
		if p.ended {
			_ = c.Close()
		} else {
			p.conns[c] = true
		}
	}
	return !p.ended
}

// chunk is what was read at once, and when it may go on.
type chunk struct {
	bytes []byte
	due   time.Time
}

// pump copies one way until either side ends.
func (p *Proxy) pump(to, from net.Conn, way Direction) {
	passing := make(chan chunk, 64)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { _, _ = to.Close(), from.Close() }() // ends the reading below as well
		for c := range passing {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.bytes); err != nil {
				return
			}
		}
	}()
	p.read(from, way, passing, ended)
	close(passing)
	<-ended
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, to)
	delete(p.conns, from)
}

func (p *Proxy) read(from net.Conn, way Direction, passing chan<- chunk, ended <-chan struct{}) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if way == Answers && n > 0 && p.left.Load() > 0 && p.left.Add(-1) == 0 {
			p.Mute(Answers, true)
		}
		switch {
		case n > 0 && p.mute[way].Load():
			p.lost.Add(1)
		case n > 0:
			c := chunk{append([]byte(nil), buffer[:n]...), time.Now().Add(time.Duration(p.delay.Load()))}
			select {
			case passing <- c:
			case <-ended:
				return
			}
		}
		if err != nil {
			return
		}
	}
}
