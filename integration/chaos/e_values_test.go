package chaos

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
)

// malformedValues puts 100,000 values that nobody can read among 100 good services.
func malformedValues(r *run) {
	const good, bad = 100, 100_000
	b := r.bystander(integration.Options{})
	var services []*cluster.Service
	for i := range good {
		f := b.Frontend(cluster.TCP, false)
		services = append(services, integration.Service(fmt.Sprintf("good-%d", i), f, b.instances[i%3]))
		b.before.set(f, b.instances[i%3])
	}
	b.PutAll(services)
	values := []string{
		"", "null", "{", "\x00\xff\xfe", `{"name": "bad"}`, `[]`, `"text"`, "1e999", strings.Repeat("[", 200), `{"unknown": 1}`,
		`{"name": "%s", "vips": ["10.10.9.1"], "ports": [{"port": 0}]}`, `{"name": "%s"} {"name": "%s"}`, `{"name": "\u001b[31m", "vips": ["x"]}`,
	}
	keys := []string{"net/services/bad-%d", "net/services/BAD-%d", "net/services/bad/%d", "net/instances/n%d/good-0/x", "net/admin/good-0/%d", "net/weights/bad-%d", "net/health/bad-%d", "net/nonsense/%d"}
	var pairs [][2]string
	for i := range bad {
		key := fmt.Sprintf(keys[i%len(keys)], i)
		pairs = append(pairs, [2]string{key, strings.ReplaceAll(values[(i/len(keys))%len(values)], "%s", filepath.Base(key))})
	}
	began := time.Now()
	b.putAll(pairs) // the agent watches meanwhile
	wrong := b.unmoved()
	r.figure("t_s", seconds(began))
	r.figure("good_applied_percent", 100*float64(good-wrong)/good)
	r.figure("problems", b.Agents[0].Metric("weir_agent_problems"))
	r.figure("rss_peak_mb", r.peakMB(b.Agents[0].Pid()))
	require.Zero(r, wrong)
	require.GreaterOrEqual(r, r.line.Figures["problems"], float64(bad))
	require.Less(r, r.line.Figures["rss_peak_mb"], 600.0)
}

// newerObjects writes what a newer version might.
func newerObjects(r *run) {
	b := r.bystander(integration.Options{})
	for _, text := range []string{
		`{"name": "x", "apiVersion": "v99", "vips": ["10.10.9.1"], "ports": [{"port": 80}], "instances": [{"address": "192.168.10.100:80"}]}`,
		`{"name": "x", "vips": ["10.10.9.1"], "ports": [{"port": 80, "later": 1}], "instances": [{"address": "192.168.10.100:80"}]}`,
	} {
		require.Contains(r, b.file(text), "unknown")
	}
	// One that is there changes into one that nobody understands: its last good value stays.
	b.Put("net/services/good", b.value("good", map[string]any{"apiVersion": "v99"}))
	b.Put("net/services/new", b.value("new", map[string]any{"future": []int{1}}))
	wrong := b.unmoved()
	_, problems := b.Agents[0].Get("/debug/problems")
	r.figure("served_wrongly", float64(wrong))
	require.Zero(r, wrong)
	for _, text := range []string{"key net/services/good", "key net/services/new", "unknown field"} {
		require.Contains(r, problems, text)
	}
}

// hugeValues are larger and deeper than anything should be.
func hugeValues(r *run) {
	m := r.members(1, "--max-request-bytes", fmt.Sprint(8<<20))
	b := r.bystander(integration.Options{Members: m})
	huge := b.value("huge", map[string]any{"instances": []map[string]any{{"address": b.instances[0], "labels": map[string]string{"x": strings.Repeat("x", 1600<<10)}}}})
	deep := strings.Repeat(`{"name":`, 500_000)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'j'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	for _, text := range []string{huge, strings.Repeat("[", 500_000), deep[:900_000], bomb} {
		began := time.Now()
		b.file(text)
		r.most("refused_within_s", seconds(began))
	}
	b.Put("net/services/huge", huge)
	b.Put("net/services/deep", deep[:1_000_000])
	b.Put("net/weights/good", strings.Repeat("[", 1_000_000))
	wrong := b.unmoved()
	r.figure("served_wrongly", float64(wrong))
	r.figure("rss_peak_mb", r.peakMB(b.Agents[0].Pid()))
	require.Zero(r, wrong)
	require.Less(r, r.line.Figures["rss_peak_mb"], 300.0)
	require.Less(r, r.line.Figures["refused_within_s"], 5.0)
}

// thousandInstances is as large as a service may be.
func thousandInstances(r *run) {
	const n = 1000
	b := r.bystander(integration.Options{})
	var all []string
	for i := range n {
		address, _ := b.Serve(b.Instances[i%4], uint16(1000+i/4), false)
		all = append(all, address)
	}
	f := b.Frontend(cluster.TCP, false)
	began := time.Now()
	b.Publish(integration.Service("many", f, all...))
	r.figure("apply_ms", milliseconds(time.Since(began)))
	b.before.set(f, all...)
	require.Zero(r, differences(b.before, b.Slots(b.Nodes[0])))
	result := b.Flood(b.Client, f, 3*n)
	r.line.Conns, r.line.ConnFailed = result.Connections, result.Failed
	r.figure("answered", float64(len(result.ByID)))
	require.Greater(r, len(result.ByID), 900, "95 % of a thousand are hit by three thousand")
	require.Less(r, r.line.Figures["apply_ms"], 5000.0)
}
