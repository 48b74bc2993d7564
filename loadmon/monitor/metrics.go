package monitor

import "github.com/prometheus/client_golang/prometheus"

// Metrics of a monitor.
type Metrics struct {
	sample        prometheus.Histogram
	instances     prometheus.Gauge
	failures      *prometheus.CounterVec
	requests      *prometheus.CounterVec
	verdictWrites prometheus.Counter
	verdicts      prometheus.Gauge

	complaintWrites prometheus.Counter
	complaints      prometheus.Gauge
}

// NewMetrics makes the metrics and registers them; nil: nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	const namespace, subsystem = "weir", "monitor"
	m := &Metrics{
		sample: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Subsystem: subsystem, Name: "sample_seconds", Help: "Time to measure this node's instances once.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 10),
		}),
		instances:       prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: "instances", Help: "Instances of this node that have figures."}),
		failures:        prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: "failures_total", Help: "Failed runs of a loop."}, []string{"loop"}),
		requests:        prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: "requests_total", Help: "Requests for loads and looks, by the status of the answer."}, []string{"code"}),
		verdictWrites:   prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: "verdict_writes_total", Help: "Writes of this node's verdicts to etcd."}),
		verdicts:        prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: "verdicts", Help: "Instances of which this node says that they are not well."}),
		complaintWrites: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: "complaint_writes_total", Help: "Writes to etcd of what this load monitor complains of; 0 in an agent."}),
		complaints:      prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: "complaints", Help: "Problems that this load monitor tells of; 0 in an agent, where weir_agent_problems counts them."}),
	}
	for _, loop := range []string{"sample", "verdicts", "complaints", "listen"} {
		m.failures.WithLabelValues(loop) // so that 0 shows, and the first one is an increase
	}
	if r != nil {
		r.MustRegister(m.sample, m.instances, m.failures, m.requests, m.verdictWrites, m.verdicts, m.complaintWrites, m.complaints)
	}
	return m
}

// CannotListen is told of each time that a listener of the load monitor cannot be opened.
func (m *Metrics) CannotListen() { m.failures.WithLabelValues("listen").Inc() }
