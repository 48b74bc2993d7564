package loadmon

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

const sound = `{"node":"n1","at":"2026-01-02T12:00:00Z","uptime_s":61.5,"new_field":1,
	"host":{"processors":4,"cpu":0.5,"pressure":0.2,"memory_bytes":3,"memory_total_bytes":4,"conntrack":7,"conntrack_max":8,"bytes_in":1,"bytes_out":2},"loads":[
	{"service":"a","instance":"192.168.1.1:80","connections":120,"failed":2,"failed_in_row":1,"active":7,"busy":0.41,"latency_ms":1.5,
		"cpu_seconds":12.5,"pressure":0.1,"quota_cpus":0.5,"memory_bytes":100,"memory_limit_bytes":200,"open_files":9,"open_files_limit":1024,
		"bytes_in":5,"bytes_out":6,"utilization":0.6,"wish":0.75},
	{"service":"b","instance":"x","connections":1,"active":0,"busy":0}]}`

func everybody(string, string) bool { return true }

func TestReadReport(t *testing.T) {
	t.Parallel()
	r, problems, err := ReadReport(strings.NewReader(sound))
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Equal(t, Report{Node: "n1", At: noon, UptimeS: 61.5, Host: HostLoad{4, 0.5, 0.2, 3, 4, 7, 8, 1, 2}, Loads: []Load{
		{Service: "a", Instance: "192.168.1.1:80", Connections: 120, Failed: 2, FailedInRow: 1, Active: 7, Busy: 0.41, LatencyMS: 1.5,
			CPUSeconds: 12.5, Pressure: 0.1, QuotaCPUs: 0.5, MemoryBytes: 100, MemoryLimitBytes: 200, OpenFiles: 9, OpenFilesLimit: 1024,
			BytesIn: 5, BytesOut: 6, Utilization: new(0.6), Wish: new(0.75)},
		{Service: "b", Instance: "x", Connections: 1},
	}}, r)
	text, err := json.Marshal(r)
	require.NoError(t, err)
	again, _, err := ReadReport(bytes.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, r, again)

	measured, problems := r.Accept("n1", everybody)
	require.Empty(t, problems)
	require.Equal(t, Measured{Load: r.Loads[0], Node: "n1", At: noon, Uptime: 61500 * time.Millisecond}, measured["a"]["192.168.1.1:80"])
	require.Len(t, measured["b"], 1)
}

func TestReportThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                               "the report cannot be read: it is empty",
		`{"node":"n1","uptime_s":NaN}`:   `the report cannot be read: it is no JSON from byte 25 on: "NaN}"`,
		`{"node":"n1","loads":{}}`:       "the report cannot be read: loads is {}, and a list is wanted",
		"<html>":                         `the report cannot be read: it is no JSON from byte 1 on: "<html>"`,
		strings.Repeat(" ", 4<<20) + "{": "the report is larger than 4194304 bytes: is this the load monitor's address?",
	} {
		_, _, err := ReadReport(strings.NewReader(text))
		require.ErrorContains(t, err, want)
	}
	cut := errors.New("cut off")
	_, _, err := ReadReport(iotest.ErrReader(cut))
	require.ErrorIs(t, err, cut)
}

func TestBadLoadHarmsOnlyItself(t *testing.T) {
	t.Parallel()
	r, problems, err := ReadReport(strings.NewReader(`{"node":"n1","loads":[{"busy":"much"},{"connections":-1},{"busy":1e999},17,{"service":"a","instance":"x"}]}`))
	require.NoError(t, err)
	require.Equal(t, []Load{{Service: "a", Instance: "x"}}, r.Loads)
	require.Len(t, problems, 4)
	require.Equal(t, "node n1", problems[0].Object)
	require.Equal(t, "loads[0]", problems[0].Field)
	require.Equal(t, `it cannot be read: busy is "much", and a number is wanted; the last good figures stay`, problems[0].What)

	r.Loads = append(r.Loads, r.Loads[0], Load{Service: "b", Instance: "y"})
	measured, problems := r.Accept("n1", func(service, _ string) bool { return service == "a" })
	require.Len(t, measured, 1)
	require.Equal(t, []cluster.Problem{
		{Object: "node n1", Field: "loads[1]", What: `"x" of service "a" is reported twice: the first counts`, Fix: updateMonitor},
		{Object: "node n1", Field: "loads[2]", What: `"y" of service "b" does not run on this node`, Fix: "only an instance's own node may report for it"},
	}, problems)
}

// Figures that cannot be true are left out with a word about them, so that whoever keeps the last good ones goes on with those.
func TestFiguresThatCannotBeTrue(t *testing.T) {
	t.Parallel()
	bad := map[string]func(*Load){
		"busy NaN is outside 0..1":               func(l *Load) { l.Busy = math.NaN() },
		"a latency of -1 ms cannot be":           func(l *Load) { l.LatencyMS = -1 },
		"1000000001 open connections are more":   func(l *Load) { l.Active = 1e9 + 1 },
		"-1 s of CPU cannot be":                  func(l *Load) { l.CPUSeconds = -1 },
		"+Inf s of CPU cannot be":                func(l *Load) { l.CPUSeconds = math.Inf(1) },
		"pressure 1.5 is outside 0..1":           func(l *Load) { l.Pressure = 1.5 },
		"a quota of 1e+308 processors cannot be": func(l *Load) { l.QuotaCPUs = 1e308 },
		"18446744073709551615 of 0 bytes":        func(l *Load) { l.MemoryBytes = math.MaxUint64 },
		"0 of 9223372036854771712 bytes":         func(l *Load) { l.MemoryLimitBytes = math.MaxInt64 &^ 4095 },
		"18446744073709551615 of 0 open files":   func(l *Load) { l.OpenFiles = math.MaxUint64 },
		"0 of 18446744073709551615 open files":   func(l *Load) { l.OpenFilesLimit = math.MaxUint64 },
		"utilization NaN is outside 0..1":        func(l *Load) { l.Utilization = new(math.NaN()) },
		"utilization 1.1 is outside 0..1":        func(l *Load) { l.Utilization = new(1.1) },
		"a wish for 257 of its weight":           func(l *Load) { l.Wish = new(257.0) },
		"a wish for -0.1 of its weight":          func(l *Load) { l.Wish = new(-0.1) },
	}
	for want, spoil := range bad {
		r := Report{Node: "n1", At: noon, Loads: []Load{{Service: "a", Instance: "x"}, {Service: "a", Instance: "y"}}}
		spoil(&r.Loads[0])
		measured, problems := r.Accept("n1", everybody)
		require.Len(t, measured["a"], 1, want)
		require.Contains(t, measured["a"], "y", want)
		require.Len(t, problems, 1, want)
		require.Equal(t, "loads[0]", problems[0].Field)
		require.Contains(t, problems[0].What, want)
		require.Contains(t, problems[0].What, "the last good figures stay")
		require.Contains(t, Measured{Load: r.Loads[0], At: noon}.implausible(noon), want, "the law does not believe it either")
	}
}

func TestHostThatCannotBeTrue(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		`"much"`:                               "it cannot be read",
		`{"processors":-1}`:                    "-1 processors cannot be",
		`{"cpu":2}`:                            "cpu 2 is outside 0..1",
		`{"pressure":-1}`:                      "pressure -1 is outside 0..1",
		`{"memory_bytes":1000000000000000000}`: "1000000000000000000 of 0 bytes",
		`{"conntrack_max":10000000000000000}`:  "0 of 10000000000000000 tracked connections",
	} {
		r, problems, err := ReadReport(strings.NewReader(`{"node":"n1","host":` + host + `,"loads":[{"service":"a","instance":"x"}]}`))
		require.NoError(t, err, host)
		require.Equal(t, HostLoad{}, r.Host, host)
		require.Len(t, r.Loads, 1, host)
		require.Len(t, problems, 1, host)
		require.Equal(t, "host", problems[0].Field)
		require.Contains(t, problems[0].What, want)
	}
}

func TestReportThatIsNotAccepted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		report Report
		want   string
	}{
		"another node":     {Report{Node: "n2", Loads: []Load{{}}}, `reports for node "n2"`},
		"uptime negative":  {Report{Node: "n1", UptimeS: -1}, "-1 s cannot be"},
		"uptime endless":   {Report{Node: "n1", UptimeS: 1e308}, "1e+308 s cannot be"},
		"uptime no number": {Report{Node: "n1", UptimeS: math.NaN()}, "NaN s cannot be"},
	} {
		measured, problems := c.report.Accept("n1", everybody)
		require.Empty(t, measured, name)
		require.Len(t, problems, 1, name)
		require.Contains(t, problems[0].What, c.want, name)
	}
}

// A monitor gone mad does not fill the views.
func TestComplaintsAreBounded(t *testing.T) {
	t.Parallel()
	r := Report{Node: "n1", Loads: make([]Load, 1000)}
	_, problems := r.Accept("n1", func(string, string) bool { return false })
	require.Len(t, problems, maxComplaints+1)
	require.Equal(t, "980 more loads like these", problems[maxComplaints].What)
}

// What was written past publish is replaced by the nearest that can be.
func TestPolicy(t *testing.T) {
	t.Parallel()
	bad := Policy{Blend: 101, Soft: 3 * time.Second, Hard: 2 * time.Second}
	require.Equal(t, Policy{Blend: 100, Soft: 3 * time.Second, Hard: 3 * time.Second}, bad.sound())
	require.Equal(t, DefaultPolicy(), Policy{Blend: 100, Soft: -1, Hard: -1}.sound())
}

// What comes over the network never upsets the decision.
func FuzzReadReport(f *testing.F) {
	f.Add([]byte(sound))
	f.Add([]byte(`{"node":"n1","host":{"cpu":1e308},"loads":[{"service":"a","instance":"x","utilization":-1e308,"wish":1e308,"memory_bytes":18446744073709551615}]}`))
	f.Add([]byte(`{"node":"n1","at":"9999-12-31T23:59:59Z","uptime_s":1e17,"loads":[{"service":"a","instance":"x","connections":18446744073709551615,"busy":1e-320}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, _, err := ReadReport(bytes.NewReader(text))
		if err != nil {
			return
		}
		measured, _ := r.Accept(r.Node, everybody)
		for service, loads := range measured {
			in := Input{Service: service, Now: r.At, Measured: loads, Policy: DefaultPolicy()}
			for id := range loads {
				in.Instances = append(in.Instances, Candidate{ID: id, Weight: 1})
			}
			if len(in.Instances) > 1000 {
				continue
			}
			state, d := Weights(State{}, in)
			require.Equal(t, Whole, total(d.Shares))
			_, d = Weights(state, in)
			require.Equal(t, Whole, total(d.Shares))
		}
	})
}
