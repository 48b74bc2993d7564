package leader

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader/watchman"
	"github.com/weir-lb/weir/loadmon"
)

// Metrics tell how the leader does. They are of whoever leads: the others have zeros.
type Metrics struct {
	leading, paused, problems prometheus.Gauge
	nodes, services           prometheus.Gauge
	rounds                    *prometheus.CounterVec
	round, fetch              prometheus.Histogram
	fetches, decisions        *prometheus.CounterVec
	writes                    *prometheus.CounterVec
	watchman                  *watchman.Metrics
}

// NewMetrics registers the metrics; nil: nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "weir", Subsystem: "leader", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.Gauge { return f.NewGauge(prometheus.GaugeOpts(opts(name, help))) }
	counter := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := f.NewCounterVec(prometheus.CounterOpts(opts(name, help)), []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	seconds := func(name, help string, buckets ...float64) prometheus.Histogram {
		return f.NewHistogram(prometheus.HistogramOpts{Namespace: "weir", Subsystem: "leader", Name: name, Help: help, Buckets: buckets})
	}
	return &Metrics{
		watchman:  watchman.NewMetrics(r),
		leading:   gauge("leading", "1 while this control center leads."),
		paused:    gauge("paused", "1 while it leads and an operator stopped all automatic decisions."),
		problems:  gauge("problems", "Problems found in the last round: nodes that do not answer, figures that cannot be true."),
		nodes:     gauge("nodes", "Nodes that were asked for their loads in the last round."),
		services:  gauge("services", "Services whose weights are decided."),
		rounds:    counter("rounds_total", "Rounds, by result.", "result", "ok", "failed"),
		round:     seconds("round_seconds", "How long a round takes.", .01, .03, .1, .3, 1, 3, 10),
		fetch:     seconds("fetch_seconds", "How long a node takes to answer.", .001, .003, .01, .03, .1, .3, 1, 3),
		fetches:   counter("fetches_total", "Questions to nodes for their loads, by result.", "result", "ok", "failed"),
		decisions: counter("decisions_total", "Decisions about the weights of a service, by result.", "result", "moved", "kept"),
		writes:    counter("writes_total", "Transactions to etcd, by result.", "result", "ok", "failed", "refused"),
	}
}

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}

func (m *Metrics) fetched(took time.Duration, err error) {
	m.fetches.WithLabelValues(result(err)).Inc()
	if err == nil {
		m.fetch.Observe(took.Seconds())
	}
}

func (m *Metrics) decided(d loadmon.Decision) {
	if d.Write {
		m.decisions.WithLabelValues("moved").Inc()
	} else {
		m.decisions.WithLabelValues("kept").Inc()
	}
}

// wrote counts a write. That somebody else said something first is nobody's fault.
func (m *Metrics) wrote(err error) {
	if errors.Is(err, cluster.ErrConflict) {
		m.writes.WithLabelValues("refused").Inc()
		return
	}
	m.writes.WithLabelValues(result(err)).Inc()
}

func (m *Metrics) told(r *roundReport) {
	m.paused.Set(0)
	if r.paused {
		m.paused.Set(1)
	}
	m.problems.Set(float64(len(r.problems)))
	m.nodes.Set(float64(len(r.answers)))
	m.services.Set(float64(len(r.services)))
	m.rounds.WithLabelValues(result(r.err)).Inc()
	m.round.Observe(r.took.Seconds())
}

// ended is when somebody else leads.
func (m *Metrics) ended() {
	for _, g := range []prometheus.Gauge{m.leading, m.paused, m.problems, m.nodes, m.services} {
		g.Set(0)
	}
}
