package simulate

import (
	"container/heap"
	"math"
	"math/rand/v2"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// perConnection is how many requests a second a keep-alive connection makes.
const perConnection = 1.0

// world is one service under one policy.
type world struct {
	scenario  Scenario
	policy    cluster.Balance
	instances []*instance
	balancer  *balancer
	streams   streams
	kept      connections // with their next request, the earliest first

	now      float64
	begin    float64 // end of the warm-up
	answers  []float64
	sampled  []float64 // busy time of each instance at the last tick
	at       float64   // of the last tick
	reports  map[string]loadmon.Measured
	track    []Point
	pastWarm []float64 // busy time of each instance at the end of the warm-up
}

// streams are independent of each other and of the policy: what arrives, when, and with what work is always the same.
type streams struct{ arrivals, work, draws, lives, noise *rand.Rand }

func newStreams(seed uint64) streams {
	stream := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	return streams{stream(1), stream(2), stream(3), stream(4), stream(5)}
}

func newWorld(s Scenario, policy cluster.Balance) *world {
	w := &world{
		scenario: s, policy: policy, balancer: newBalancer(policy, s), streams: newStreams(s.Seed), begin: s.Warmup.Seconds(),
		sampled: make([]float64, len(s.Speeds)), pastWarm: make([]float64, len(s.Speeds)), reports: map[string]loadmon.Measured{},
	}
	for i, speed := range s.Speeds {
		from, to, leaves := s.hampered(i)
		w.instances = append(w.instances, &instance{speed: speed, from: from, to: to, leaves: leaves})
	}
	return w
}

// run lets the scenario happen.
func (w *world) run() {
	s, interval := w.scenario, loadmon.Interval.Seconds()
	end, connections := w.begin+s.Length.Seconds(), s.rate()
	if s.KeepAlive > 0 {
		connections = s.rate() / (s.KeepAlive.Seconds() * perConnection)
		for range poisson(w.streams.arrivals, connections*s.KeepAlive.Seconds()) {
			w.connect() // those that were there before the start
		}
	}
	w.tick(0)
	arrival, tick := w.streams.arrivals.ExpFloat64()/connections, interval
	for {
		next := min(arrival, tick)
		if len(w.kept) > 0 {
			next = min(next, w.kept[0].next)
		}
		if next > end {
			break
		}
		if w.now < w.begin && next >= w.begin {
			w.pastWarm = w.busy(w.begin)
		}
		w.now = next
		switch next {
		case tick:
			w.tick(tick)
			tick += interval
		case arrival:
			w.connect()
			arrival += w.streams.arrivals.ExpFloat64() / connections
		default:
			w.ask()
		}
	}
	w.now = end
}

// connect opens a connection at an instance that the balancer draws.
func (w *world) connect() {
	i := w.balancer.draw(w.streams.draws.Float64())
	w.instances[i].opened++
	if w.scenario.KeepAlive == 0 {
		w.request(i)
		return
	}
	w.instances[i].kept++
	c := connection{instance: i, closes: w.now + w.streams.lives.ExpFloat64()*w.scenario.KeepAlive.Seconds()}
	c.next = w.now + w.streams.lives.ExpFloat64()/perConnection
	heap.Push(&w.kept, c)
}

// ask lets the next keep-alive connection make its request, or end.
func (w *world) ask() {
	c := &w.kept[0]
	if c.next >= c.closes {
		w.instances[c.instance].kept--
		heap.Pop(&w.kept)
		return
	}
	w.request(c.instance)
	c.next = w.now + w.streams.lives.ExpFloat64()/perConnection
	heap.Fix(&w.kept, 0)
}

func (w *world) request(i int) {
	end := w.instances[i].serve(w.now, w.streams.work.ExpFloat64()*w.scenario.Work.Seconds())
	if w.now >= w.begin {
		w.answers = append(w.answers, (end-w.now)*1000)
	}
}

func (w *world) busy(now float64) []float64 {
	out := make([]float64, len(w.instances))
	for i, inst := range w.instances {
		out[i] = inst.busy(now)
	}
	return out
}

// connection is a keep-alive one.
type connection struct {
	instance     int
	next, closes float64
}

type connections []connection

func (c connections) Len() int           { return len(c) }
func (c connections) Less(i, j int) bool { return c[i].next < c[j].next }
func (c connections) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *connections) Push(x any)        { *c = append(*c, x.(connection)) }
func (c *connections) Pop() any {
	last := (*c)[len(*c)-1]
	*c = (*c)[:len(*c)-1]
	return last
}

// poisson draws a number; by its normal form, as its mean is large or does not matter.
func poisson(r *rand.Rand, mean float64) int {
	return max(0, int(math.Round(mean+r.NormFloat64()*math.Sqrt(mean))))
}
