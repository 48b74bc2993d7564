package watchman

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/weir-lb/weir/cluster"
)

// Metrics tell how the nodes are. They are of whoever leads: the others have zeros.
type Metrics struct {
	nodes    *prometheus.GaugeVec
	alarm    prometheus.Gauge
	declared prometheus.Counter
	looks    *prometheus.CounterVec
}

// NewMetrics registers the metrics; nil: nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	f := promauto.With(r)
	m := &Metrics{
		nodes: f.NewGaugeVec(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "leader", Name: "nodes_in_state",
			Help: "Nodes by state: alive, down, unwatched (no agent, but instances answer), held (gone, but not declared down)."}, []string{"state"}),
		alarm: f.NewGauge(prometheus.GaugeOpts{Namespace: "weir", Subsystem: "leader", Name: "nodes_alarm",
			Help: "1 while so many nodes are gone at once that none is declared down."}),
		declared: f.NewCounter(prometheus.CounterOpts{Namespace: "weir", Subsystem: "leader", Name: "nodes_declared_down_total",
			Help: "Nodes that were declared down."}),
		looks: f.NewCounterVec(prometheus.CounterOpts{Namespace: "weir", Subsystem: "leader", Name: "looks_total",
			Help: "Looks at nodes that are gone, by what came of them: something answers, nothing does, too few could look."}, []string{"result"}),
	}
	m.ended()
	for _, result := range []string{"answers", "silent", "failed"} {
		m.looks.WithLabelValues(result)
	}
	return m
}

func (m *Metrics) looked(l Looked) {
	switch {
	case l.Answered != "":
		m.looks.WithLabelValues("answers").Inc()
	case len(l.Silent) > 0:
		m.looks.WithLabelValues("silent").Inc()
	default:
		m.looks.WithLabelValues("failed").Inc()
	}
}

func (m *Metrics) told(r Report) {
	count := map[cluster.GoneState]int{}
	for _, g := range r.Gone {
		count[g.State]++
	}
	m.set(r.Alive, len(r.Down), count[cluster.Unwatched], count[cluster.HeldBack])
	m.alarm.Set(0)
	if r.Alarm != "" {
		m.alarm.Set(1)
	}
}

func (m *Metrics) set(alive, down, unwatched, held int) {
	for state, n := range map[string]int{"alive": alive, "down": down, "unwatched": unwatched, "held": held} {
		m.nodes.WithLabelValues(state).Set(float64(n))
	}
}

// ended is when somebody else leads.
func (m *Metrics) ended() {
	m.set(0, 0, 0, 0)
	m.alarm.Set(0)
}
