package sample

import (
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-lb/weir/loadmon"
)

// MaxInstances bounds how many instances of a node have metrics: every one has some fifteen series.
const MaxInstances = 2000

// Metrics shows the newest report. An instance that is not in it any more has no series any more.
type Metrics struct {
	mu     sync.Mutex
	report *loadmon.Report
}

// NewMetrics makes the metrics and registers them; nil: nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{}
	if r != nil {
		r.MustRegister(m)
	}
	return m
}

// See takes the newest report, which must not be changed afterwards.
func (m *Metrics) See(r loadmon.Report) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.report = &r
}

// figure is one metric, and where it is in a report. What is not known is not shown.
type figure[T any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(T) (value float64, known bool)
}

func gauge[T any](name, help string, of func(T) (float64, bool), labels ...string) figure[T] {
	return figure[T]{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue, of}
}

func total[T any](name, help string, of func(T) (float64, bool), labels ...string) figure[T] {
	return figure[T]{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue, of}
}

func always(v float64) (float64, bool)   { return v, true }
func positive(v float64) (float64, bool) { return v, v > 0 }
func pointed(v *float64) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return *v, true
}

type (
	load = loadmon.Load
	node = loadmon.HostLoad
)

var instanceLabels = []string{"service", "instance"}

var instanceFigures = []figure[load]{
	total("weir_instance_connections_total", "New connections, through a VIP or not.", func(l load) (float64, bool) { return always(float64(l.Connections)) }, instanceLabels...),
	total("weir_instance_failures_total", "Connections that were refused or never answered, and failed checks.", func(l load) (float64, bool) { return always(float64(l.Failed)) }, instanceLabels...),
	gauge("weir_instance_active_connections", "Connections that are open.", func(l load) (float64, bool) { return always(float64(l.Active)) }, instanceLabels...),
	gauge("weir_instance_busy_ratio", "Part of the last interval in which it ran or wanted to, by its processors or its quota.", func(l load) (float64, bool) { return always(l.Busy) }, instanceLabels...),
	gauge("weir_instance_check_latency_seconds", "Time to answer its checks, mean of the last interval.", func(l load) (float64, bool) { return positive(l.LatencyMS / 1000) }, instanceLabels...),
	total("weir_instance_cpu_seconds_total", "CPU time of its control group or its processes since it was first seen.", func(l load) (float64, bool) { return always(l.CPUSeconds) }, instanceLabels...),
	gauge("weir_instance_cpu_pressure_ratio", "Part of the last interval in which all of it wanted to run and could not.", func(l load) (float64, bool) { return always(l.Pressure) }, instanceLabels...),
	gauge("weir_instance_cpu_quota_cores", "Processors that it may use; absent without a quota.", func(l load) (float64, bool) { return positive(l.QuotaCPUs) }, instanceLabels...),
	gauge("weir_instance_memory_bytes", "Memory in use, without the pages of files that nobody used lately.", func(l load) (float64, bool) { return positive(float64(l.MemoryBytes)) }, instanceLabels...),
	gauge("weir_instance_memory_limit_bytes", "Memory that it may use; absent without a limit.", func(l load) (float64, bool) { return positive(float64(l.MemoryLimitBytes)) }, instanceLabels...),
	gauge("weir_instance_open_files", "Open files of its process that is nearest to its limit.", func(l load) (float64, bool) { return positive(float64(l.OpenFiles)) }, instanceLabels...),
	gauge("weir_instance_open_files_limit", "Files that this process may open; absent without a limit.", func(l load) (float64, bool) { return positive(float64(l.OpenFilesLimit)) }, instanceLabels...),
	total("weir_instance_received_bytes_total", "Bytes from clients; absent where net.netfilter.nf_conntrack_acct is off.", func(l load) (float64, bool) { return positive(float64(l.BytesIn)) }, instanceLabels...),
	total("weir_instance_sent_bytes_total", "Bytes to clients; absent where net.netfilter.nf_conntrack_acct is off.", func(l load) (float64, bool) { return positive(float64(l.BytesOut)) }, instanceLabels...),
	gauge("weir_instance_utilization_ratio", "How busy the application says it is.", func(l load) (float64, bool) { return pointed(l.Utilization) }, instanceLabels...),
	gauge("weir_instance_wish_ratio", "Part of its weight that the application wants.", func(l load) (float64, bool) { return pointed(l.Wish) }, instanceLabels...),
}

var hostFigures = []figure[node]{
	gauge("weir_host_processors", "Processors of the node.", func(n node) (float64, bool) { return positive(float64(n.Processors)) }),
	gauge("weir_host_cpu_ratio", "Part of the last interval in which the node's processors were busy.", func(n node) (float64, bool) { return n.CPU, n.Processors > 0 }),
	gauge("weir_host_cpu_pressure_ratio", "Part of the last interval in which a process wanted to run and could not.", func(n node) (float64, bool) { return always(n.Pressure) }),
	gauge("weir_host_memory_bytes", "Memory of the node that is in use.", func(n node) (float64, bool) { return positive(float64(n.MemoryBytes)) }),
	gauge("weir_host_memory_size_bytes", "Memory that the node has.", func(n node) (float64, bool) { return positive(float64(n.MemoryTotalBytes)) }),
	gauge("weir_host_conntrack_entries", "Tracked connections.", func(n node) (float64, bool) { return float64(n.Conntrack), n.ConntrackMax > 0 }),
	gauge("weir_host_conntrack_entries_limit", "Connections that may be tracked; new ones beyond it are dropped.", func(n node) (float64, bool) { return positive(float64(n.ConntrackMax)) }),
	total("weir_host_received_bytes_total", "Bytes that came in by the links to the outside since the monitor started.", func(n node) (float64, bool) { return always(float64(n.BytesIn)) }),
	total("weir_host_sent_bytes_total", "Bytes that went out by the links to the outside since the monitor started.", func(n node) (float64, bool) { return always(float64(n.BytesOut)) }),
}

var withoutMetrics = prometheus.NewDesc("weir_instances_without_metrics", "Instances of this node beyond the number that has metrics.", nil, nil)

// Describe says which metrics there are.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, f := range instanceFigures {
		out <- f.desc
	}
	for _, f := range hostFigures {
		out <- f.desc
	}
	out <- withoutMetrics
}

// Collect shows the newest report.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	r := m.report
	m.mu.Unlock()
	if r == nil {
		return
	}
	for _, f := range hostFigures {
		f.collect(out, r.Host)
	}
	shown := make(map[[2]string]bool, len(r.Loads))
	left := 0
	for _, l := range r.Loads {
		// A page with a label twice, or one that is no UTF-8, would be refused as a whole.
		labels := [2]string{strings.ToValidUTF8(l.Service, "?"), strings.ToValidUTF8(l.Instance, "?")}
		if shown[labels] || len(shown) == MaxInstances {
			left++
			continue
		}
		shown[labels] = true
		for _, f := range instanceFigures {
			f.collect(out, l, labels[:]...)
		}
	}
	out <- prometheus.MustNewConstMetric(withoutMetrics, prometheus.GaugeValue, float64(left))
}

func (f figure[T]) collect(out chan<- prometheus.Metric, from T, labels ...string) {
	if value, known := f.of(from); known {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
	}
}
