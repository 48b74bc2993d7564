package keep

import "github.com/prometheus/client_golang/prometheus"

// Metrics of a Keeper.
type Metrics struct {
	assigned                         prometheus.Gauge
	starts, crashes, failures, looks prometheus.Counter
	missed                           prometheus.Counter
}

// NewMetrics registers them; nil: nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "weir", Subsystem: "launcher", Name: name, Help: help})
	}
	m := &Metrics{
		assigned: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "launcher", Name: "assigned_instances", Help: "Instances that this node is to keep."}),
		starts:   counter("starts_total", "Instances that were started."),
		crashes:  counter("crashes_total", "Instances that ended by themselves."),
		failures: counter("store_failures_total", "Times that etcd could not be told how instances are."),
		looks:    counter("looks_total", "Times that a driver was asked how its instances are."),
		missed:   counter("look_failures_total", "Times that it could not say all of it."),
	}
	if r != nil {
		r.MustRegister(m.assigned, m.starts, m.crashes, m.failures, m.looks, m.missed)
	}
	return m
}

func (m *Metrics) looked(err error) {
	m.looks.Inc()
	if err != nil {
		m.missed.Inc()
	}
}
