package agent

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// Metrics of an agent.
type Metrics struct {
	apply, read           prometheus.Histogram
	writes, flows, ended  prometheus.Counter
	failures, repairs     *prometheus.CounterVec
	revision, frontends   prometheus.Gauge
	slots, problems       prometheus.Gauge
	stale, held, services prometheus.Gauge
	quarantined, fight    prometheus.Gauge
	draining, asleep      prometheus.Gauge
	knocks, wakes         prometheus.Counter
}

// NewMetrics makes the metrics and registers them; nil: nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	seconds := prometheus.ExponentialBuckets(0.0001, 2.5, 12)
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "weir", Subsystem: "agent", Name: name, Help: help, Buckets: seconds})
	}
	count := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weir", Subsystem: "agent", Name: name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "agent", Name: name, Help: help})
	}
	m := &Metrics{
		apply:       histogram("apply_seconds", "Time to write one plan into the kernel."),
		read:        histogram("read_seconds", "Time to read our tables from the kernel."),
		writes:      count("writes_total", "Elements and rules written."),
		repairs:     prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "weir", Subsystem: "agent", Name: "repairs_total", Help: "Times that foreign changes to our rules were found and repaired."}, []string{"cause"}),
		flows:       count("flows_deleted_total", "Stale connection tracking entries deleted."),
		ended:       count("flows_ended_total", "Established connections to dead instances ended, with --kill-flows."),
		draining:    gauge("flows_draining", "Live connections to instances that were drained or removed, when last counted."),
		asleep:      gauge("asleep", "Services that have no instance until somebody connects."),
		knocks:      count("knocks_total", "Connections to services that sleep, as far as the kernel told of them: at most one a second for each frontend."),
		wakes:       count("wakes_total", "Times that the leader was told of such a service."),
		failures:    prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "weir", Subsystem: "agent", Name: "failures_total", Help: "Failed runs of a loop."}, []string{"loop"}),
		revision:    gauge("revision", "Newest etcd revision that the kernel holds."),
		services:    gauge("services", "Services of the applied snapshot."),
		frontends:   gauge("frontends", "Frontends in the kernel."),
		slots:       gauge("slots", "Slots in the kernel."),
		problems:    gauge("problems", "Problems that are reported."),
		stale:       gauge("stale", "1 while working from the snapshot file."),
		held:        gauge("held", "1 while deletions are held back."),
		quarantined: gauge("quarantined", "Frontends that the kernel refuses."),
		fight:       gauge("fight", "1 while another program changes our rules again and again."),
	}
	for _, cause := range cluster.RepairCauses {
		m.repairs.WithLabelValues(cause) // so that 0 shows, and the first one is an increase
	}
	if r != nil {
		r.MustRegister(m.apply, m.read, m.writes, m.repairs, m.flows, m.ended, m.draining, m.asleep, m.knocks, m.wakes, m.failures, m.revision, m.services, m.frontends, m.slots, m.problems, m.stale, m.held, m.quarantined, m.fight)
	}
	return m
}

func (m *Metrics) see(want *rules.Ruleset, have *rules.State, in inbox, problems int) {
	m.revision.Set(float64(in.snapshot.Revision))
	m.services.Set(float64(in.snapshot.Services.Len()))
	m.frontends.Set(float64(len(have.Placed)))
	m.slots.Set(float64(want.Slots()))
	m.problems.Set(float64(problems))
	m.quarantined.Set(float64(len(have.Quarantined())))
	m.stale.Set(truth(in.stale))
	m.held.Set(truth(in.snapshot.Held != nil))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
