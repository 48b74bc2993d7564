package sample

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/loadmon"
)

var full = loadmon.Report{
	Node: "n1", Host: loadmon.HostLoad{Processors: 4, CPU: 0.5, Pressure: 0.1, MemoryBytes: 3, MemoryTotalBytes: 4, Conntrack: 7, ConntrackMax: 8, BytesIn: 9, BytesOut: 10},
	Loads: []loadmon.Load{{
		Service: "a", Instance: "192.168.1.1:80", Connections: 53, Failed: 2, Active: 3, Busy: 0.4, LatencyMS: 1.5, CPUSeconds: 12.25, Pressure: 0.2, QuotaCPUs: 0.5,
		MemoryBytes: 1 << 20, MemoryLimitBytes: 1 << 21, OpenFiles: 9, OpenFilesLimit: 1024, BytesIn: 100, BytesOut: 200, Utilization: new(0.6), Wish: new(0.75),
	}, {Service: "a", Instance: "y"}},
}

// Every metric stands in the manual.
func TestMetricsAreDescribed(t *testing.T) {
	t.Parallel()
	manual, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(manual), "### Metrics of instances and nodes")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n## ")
	instances, hosts, found := strings.Cut(table, "`weir_host_...`")
	require.True(t, found)
	m := NewMetrics(nil)
	m.See(full)
	for line := range strings.Lines(page(t, gathering(t, m))) {
		name, ok := strings.CutPrefix(line, "# TYPE ")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, " ")
		short, instance := strings.CutPrefix(name, "weir_instance_")
		short, host := strings.CutPrefix(short, "weir_host_")
		switch {
		case instance:
			require.Contains(t, instances, "`"+short+"`")
		case host:
			require.Contains(t, hosts, "`"+short+"`")
		default:
			require.Contains(t, table, "`"+name+"`")
		}
	}
}

func gathering(t *testing.T, c prometheus.Collector) prometheus.Gatherer {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(c))
	return registry
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	m := NewMetrics(registry)
	n, err := testutil.GatherAndCount(registry)
	require.NoError(t, err)
	require.Zero(t, n, "nothing is claimed before the first report")
	m.See(full)
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	require.Empty(t, problems)
	n, err = testutil.GatherAndCount(registry)
	require.NoError(t, err)
	require.Equal(t, len(hostFigures)+len(instanceFigures)+1+6, n, "y has no more than what is always known")
	shown := page(t, registry)
	for name, value := range map[string]string{
		"connections_total": "53", "failures_total": "2", "active_connections": "3", "busy_ratio": "0.4", "check_latency_seconds": "0.0015", "cpu_seconds_total": "12.25",
		"cpu_pressure_ratio": "0.2", "cpu_quota_cores": "0.5", "memory_bytes": "1.048576e+06", "memory_limit_bytes": "2.097152e+06", "open_files": "9", "open_files_limit": "1024",
		"received_bytes_total": "100", "sent_bytes_total": "200", "utilization_ratio": "0.6", "wish_ratio": "0.75",
	} {
		require.Contains(t, shown, "weir_instance_"+name+`{instance="192.168.1.1:80",service="a"} `+value+"\n")
	}
	for name, value := range map[string]string{
		"processors": "4", "cpu_ratio": "0.5", "cpu_pressure_ratio": "0.1", "memory_bytes": "3", "memory_size_bytes": "4", "conntrack_entries": "7", "conntrack_entries_limit": "8",
		"received_bytes_total": "9", "sent_bytes_total": "10",
	} {
		require.Contains(t, shown, "weir_host_"+name+" "+value+"\n")
	}

	m.See(loadmon.Report{Node: "n1", Loads: full.Loads[1:]})
	require.NotContains(t, page(t, registry), "192.168.1.1:80", "what is gone has no metrics")
	require.Contains(t, page(t, registry), `instance="y"`)
}

// page is what Prometheus reads.
func page(t *testing.T, g prometheus.Gatherer) string {
	t.Helper()
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, answer.Code)
	return answer.Body.String()
}

// However many instances there are, and whatever they are called, the page can be read and stays bounded.
func TestMetricsAreBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	m := NewMetrics(registry)
	r := loadmon.Report{Loads: []loadmon.Load{{Service: "a\xff", Instance: "\x00\n\""}, {Service: "a\xff", Instance: "\x00\n\""}}}
	for i := range MaxInstances + 10 {
		r.Loads = append(r.Loads, loadmon.Load{Service: "a", Instance: fmt.Sprint(i)})
	}
	m.See(r)
	n, err := testutil.GatherAndCount(registry, "weir_instance_busy_ratio")
	require.NoError(t, err)
	require.Equal(t, MaxInstances, n)
	require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(`# HELP weir_instances_without_metrics Instances of this node beyond the number that has metrics.
# TYPE weir_instances_without_metrics gauge
weir_instances_without_metrics 12
`), "weir_instances_without_metrics"))
	NewMetrics(nil).See(r) // nowhere
}
