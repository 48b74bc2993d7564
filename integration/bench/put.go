package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
)

// measurePut follows changes from the put into etcd to the rule in the kernel of the slowest of three nodes.
func measurePut(t *trial) {
	w := newCluster(t, 3, 10_000)
	runtime.GC()
	f := &follower{t: t, w: w, notices: listen(t, w.Nodes)}
	t.pause(pick(t, 15*time.Second, 3*time.Second)) // agents write their snapshot files within ten seconds after the start

	one := p50p99("put in etcd to rule in 3 kernels, 10000 services, one at a time", f.single(pick(t, 500, 100)))
	p50, p99 := one.Numbers["p50_ms"], one.Numbers["p99_ms"]
	t.report(one.want("p50 <= 10 ms, p99 <= 50 ms", p50 <= 10 && p99 <= 50))
	t.report(p50p99("of these, until etcd has answered the put", f.answered))

	go profile(t, w.Agents[0], "put-cpu", "profile?seconds=3")
	many := p50p99(fmt.Sprintf("the same at %d changes/s", stormRate), f.storm(pick(t, 10*time.Second, 4*time.Second)))
	t.report(many.want("p99 <= 100 ms", many.Numbers["p99_ms"] <= 100))
	t.report(p50p99("of these, until etcd has answered the put", f.answered))
}

// follower changes services and awaits the effect.
type follower struct {
	t        *trial
	w        *integration.World
	notices  *notices
	changes  int
	answered []time.Duration
}

// replacement is the n-th change: another service each time, whose first instance is replaced by one never seen before.
func replacement(n int) (etcd.Key, *cluster.Service) {
	s := serviceOf(n * 7 % 10_000)
	s.Instances[0] = instanceAt(plus(fresh, n))
	return etcd.Key{Kind: etcd.KindService, Service: s.Name}, s
}

func (f *follower) next() (key etcd.Key, s *cluster.Service, arrived <-chan time.Time) {
	f.changes++
	key, s = replacement(f.changes)
	return key, s, f.notices.expect(netip.AddrPortFrom(s.Instances[0].Addr, s.Instances[0].Port))
}

// await is when the change is in force everywhere.
func (f *follower) await(arrived <-chan time.Time) time.Time {
	select {
	case at := <-arrived:
		return at
	case <-time.After(20 * time.Second):
		f.t.Fatalf("a change did not reach all kernels within 20 s")
	case <-f.t.ctx.Done():
		f.t.must(nil)
	}
	return time.Time{}
}

func (f *follower) single(times int) (took []time.Duration) {
	for range times {
		key, s, arrived := f.next()
		start := time.Now()
		put(f.t, f.w, key, s)
		f.answered = append(f.answered, time.Since(start))
		took = append(took, f.await(arrived).Sub(start))
		f.t.pause(10 * time.Millisecond)
	}
	return took
}

// storm puts at a fixed rate, whether or not the earlier ones have arrived. A change that is sent late counts from when
// it should have been sent.
func (f *follower) storm(during time.Duration) []time.Duration {
	took := make([]time.Duration, int(during.Seconds()*stormRate))
	f.answered = make([]time.Duration, len(took))
	arrivals := make([]<-chan time.Time, len(took))
	due := make([]time.Time, len(took))
	var writers sync.WaitGroup
	begin := time.Now()
	for n := range took {
		due[n] = begin.Add(time.Duration(n) * time.Second / stormRate)
		time.Sleep(time.Until(due[n]))
		key, s, arrived := f.next()
		arrivals[n] = arrived
		writers.Go(func() {
			_ = tryPut(f.t, f.w, key, s) // one that fails never arrives, and that is told
			f.answered[n] = time.Since(due[n])
		})
	}
	writers.Wait()
	for n, arrived := range arrivals {
		took[n] = f.await(arrived).Sub(due[n])
	}
	return took
}
