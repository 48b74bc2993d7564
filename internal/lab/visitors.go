package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// VisitorsOptions say what Visitors do.
type VisitorsOptions struct {
	Frontend netip.AddrPort
	Stay     time.Duration // how long a connection is open, give or take a fifth; default 500ms
	Timeout  time.Duration // from the first SYN to the instance's name, and for its last word; default 3s
	Open     int           // how many may be open at once, default 4096; one that comes beyond it fails
}

// Visitors are an open load whose connections last: one comes when it is due, whatever became of those before it, has the
// instance name itself, stays, has it echo one byte, and goes. So rate x stay connections are open, however the instances
// are, and each of them shows that its instance was there from its beginning to its end.
type Visitors struct {
	ns *Namespace
	o  VisitorsOptions

	ctx     context.Context // ends visits under way, which do not count then
	cancel  context.CancelFunc
	running sync.WaitGroup
	rate    chan float64

	mu     sync.Mutex
	visits map[*visit]bool
	tally  Tally
}

// visit is one connection under way.
type visit struct {
	begun time.Time
	id    string // "" until the instance has named itself
}

// Tally counts connections that are over.
type Tally struct {
	Connections int            `json:"connections"`
	Failed      int            `json:"failed"`            // no instance answered
	Broken      int            `json:"broken"`            // one did, and the connection ended before its time
	Reasons     map[string]int `json:"reasons,omitempty"` // of both, as in Result.Failures
	ByID        map[string]int `json:"by_id,omitempty"`   // by the instance that answered, broken ones too
}

// Since is what was counted after another tally of the same visitors.
func (t Tally) Since(before Tally) Tally {
	return Tally{
		Connections: t.Connections - before.Connections, Failed: t.Failed - before.Failed, Broken: t.Broken - before.Broken,
		Reasons: beyond(t.Reasons, before.Reasons), ByID: beyond(t.ByID, before.ByID),
	}
}

func beyond(now, before map[string]int) map[string]int {
	out := map[string]int{}
	for k, n := range now {
		if n > before[k] {
			out[k] = n - before[k]
		}
	}
	return out
}

// StartVisitors prepares visitors from a namespace; Set says how many of them come.
func StartVisitors(ns *Namespace, o VisitorsOptions) (*Visitors, error) {
	if o.Stay <= 0 {
		o.Stay = 500 * time.Millisecond
	}
	if o.Open <= 0 {
		o.Open = 4096
	}
	load, err := Load{Frontend: o.Frontend, Timeout: o.Timeout}.withDefaults()
	if err != nil {
		return nil, err
	}
	o.Timeout = load.Timeout
	v := &Visitors{ns: ns, o: o, rate: make(chan float64), visits: map[*visit]bool{}, tally: Tally{Reasons: map[string]int{}, ByID: map[string]int{}}}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.running.Go(v.arrive)
	if err := ns.lab.track(v); err != nil {
		return nil, err
	}
	return v, nil
}

// Set has so many come in each second from now on, evenly; 0: none, and those that are there stay for their time.
func (v *Visitors) Set(perSecond float64) {
	select {
	case v.rate <- perSecond:
	case <-v.ctx.Done():
	}
}

// Tally is what was counted so far.
func (v *Visitors) Tally() Tally {
	v.mu.Lock()
	defer v.mu.Unlock()
	t := v.tally
	t.Reasons, t.ByID = maps.Clone(t.Reasons), maps.Clone(t.ByID)
	return t
}

// Open are the connections under way, by instance; "" has those that wait for an answer.
func (v *Visitors) Open() map[string]int {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[string]int{}
	for one := range v.visits {
		out[one.id]++
	}
	return out
}

// Oldest is when the oldest connection under way began; now, where there is none. All that began before it are counted.
func (v *Visitors) Oldest() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	oldest := time.Now()
	for one := range v.visits {
		if one.begun.Before(oldest) {
			oldest = one.begun
		}
	}
	return oldest
}

// Close ends all at once; connections under way do not count. It may be called more than once.
func (v *Visitors) Close() error {
	v.cancel()
	v.running.Wait()
	v.ns.lab.forget(v)
	return nil
}

// arrive lets visitors in when they are due.
func (v *Visitors) arrive() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	every := time.Duration(0) // 0: nobody comes
	var due time.Time
	for {
		select {
		case <-v.ctx.Done():
			return
		case rate := <-v.rate:
			if every = 0; rate > 0 {
				every, due = time.Duration(float64(time.Second)/rate), time.Now()
			}
		case <-timer.C:
		}
		timer.Reset(time.Hour)
		if every == 0 {
			continue
		}
		for ; !due.After(time.Now()); due = due.Add(every) {
			v.enter()
		}
		timer.Reset(time.Until(due))
	}
}

func (v *Visitors) enter() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.visits) >= v.o.Open {
		v.count("", errTooManyOpen)
		return
	}
	one := &visit{begun: time.Now()}
	v.visits[one] = true
	v.running.Go(func() { v.visit(one) })
}

// visit is one connection from its beginning to its end.
func (v *Visitors) visit(one *visit) {
	conn, id, err := v.greet()
	if err == nil {
		v.mu.Lock()
		one.id = id
		v.mu.Unlock()
		err = v.stay(conn)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.visits, one)
	if v.ctx.Err() == nil { // else it was cut off by us, which says nothing about the network
		v.count(id, err)
	}
}

// count is called with the lock held.
func (v *Visitors) count(id string, err error) {
	v.tally.Connections++
	switch {
	case id == "":
		v.tally.Failed++
	case err != nil:
		v.tally.Broken++
	}
	if id != "" {
		v.tally.ByID[id]++
	}
	if err != nil {
		v.tally.Reasons[reason(err)]++
	}
}

// greet connects and has the instance name itself.
func (v *Visitors) greet() (conn net.Conn, id string, err error) {
	ctx, cancel := context.WithTimeout(v.ctx, v.o.Timeout)
	defer cancel()
	err = v.ns.Do(func() error {
		conn, err = Load{Network: "tcp"}.dialer().DialContext(ctx, "tcp", v.o.Frontend.String())
		return err
	})
	if err != nil {
		return nil, "", err
	}
	release := interruptible(ctx, conn)
	id, err = readID(conn)
	release()
	if err == nil && id == "" {
		err = fmt.Errorf("%w: it has no name", errAnswer)
	}
	if err != nil {
		return nil, "", errors.Join(err, conn.Close())
	}
	return conn, id, nil
}

// stay holds a connection open, and shows at the end that the instance is still there.
func (v *Visitors) stay(conn net.Conn) error {
	defer conn.Close()
	timer := time.NewTimer(time.Duration(float64(v.o.Stay) * (0.8 + 0.4*rand.Float64())))
	defer timer.Stop()
	select {
	case <-v.ctx.Done():
		return v.ctx.Err()
	case <-timer.C:
	}
	ctx, cancel := context.WithTimeout(v.ctx, v.o.Timeout)
	defer cancel()
	defer interruptible(ctx, conn)()
	word := []byte{'?'}
	if _, err := conn.Write(word); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, word)
	if err == nil && word[0] != '?' {
		err = fmt.Errorf("%w: %q", errAnswer, word)
	}
	return err
}
