package simulate

import (
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// What a load monitor sees of an instance is not quite what is.
const (
	housekeeping = 0.01 // part of its processor that an instance uses without any request
	usageNoise   = 0.01 // relative error of the measured usage
	pressNoise   = 0.05 // relative error of the pressure
	checkWork    = 1e-3 // seconds of work of a check's request
)

// tick is a sampling interval's end: every instance's figures are taken, and the leader decides.
func (w *world) tick(now float64) {
	report := loadmon.Report{Node: node, At: at(now), UptimeS: now + 1}
	busy, span := w.busy(now), now-w.at
	point := Point{At: now - w.begin, Shares: w.balancer.shares, Busy: make([]float64, len(busy))}
	for i, inst := range w.instances {
		if span > 0 {
			point.Busy[i] = (busy[i] - w.sampled[i]) / span
		}
		active := inst.queued(now)
		if w.scenario.KeepAlive > 0 {
			active = inst.kept
		}
		load := loadmon.Load{
			Service: serviceName, Instance: id(i), Connections: inst.opened, Active: uint64(active),
			Busy:      w.signal(point.Busy[i], inst.share(now)),
			LatencyMS: (max(0, inst.free-now) + checkWork/inst.speed/inst.share(now)) * 1000,
		}
		if w.streams.noise.Float64() >= w.scenario.Lost {
			report.Loads = append(report.Loads, load)
		}
	}
	w.sampled, w.at = busy, now
	if w.track = append(w.track, point); w.policy != cluster.BalanceAdaptive {
		return
	}
	accepted, _ := report.Accept(node, func(string, string) bool { return true })
	for instance, m := range accepted[serviceName] {
		w.reports[instance] = m
	}
	w.balancer.decide(now, w.reports)
}

// signal is busy as a monitor measures it: what the instance used, and the pressure: for how long it wanted to run and
// could not, since a neighbour had its processor.
func (w *world) signal(busy, share float64) float64 {
	usage := (busy*share + housekeeping) * (1 + usageNoise*w.streams.noise.NormFloat64())
	pressure := busy * (1 - share) * (1 + pressNoise*w.streams.noise.NormFloat64())
	return min(max(usage+pressure, 0.02), 1)
}

// Point is one sampling interval.
type Point struct {
	At     float64 // seconds after the warm-up, of its end
	Shares []float64
	Busy   []float64
}

func (p Point) time() time.Duration { return time.Duration(p.At * float64(time.Second)) }
