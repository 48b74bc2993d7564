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

const sound = `{"node":"n1","at":"2026-01-02T12:00:00Z","uptime_s":61.5,"new_field":1,"loads":[
	{"service":"a","instance":"192.168.1.1:80","connections":120,"failed":2,"failed_in_row":1,"active":7,"busy":0.41,"latency_ms":1.5},
	{"service":"b","instance":"x","connections":1,"active":0,"busy":0}]}`

func everybody(string, string) bool { return true }

func TestReadReport(t *testing.T) {
	t.Parallel()
	r, problems, err := ReadReport(strings.NewReader(sound))
	require.NoError(t, err)
	require.Empty(t, problems)
	require.Equal(t, Report{Node: "n1", At: noon, UptimeS: 61.5, Loads: []Load{
		{Service: "a", Instance: "192.168.1.1:80", Connections: 120, Failed: 2, FailedInRow: 1, Active: 7, Busy: 0.41, LatencyMS: 1.5},
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
		"":                               "read the report: unexpected end of JSON input",
		`{"node":"n1","uptime_s":NaN}`:   "read the report: invalid character 'N'",
		`{"node":"n1","loads":{}}`:       "cannot unmarshal object",
		"<html>":                         "read the report: invalid character '<'",
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
	require.Contains(t, problems[0].What, "the last good figures stay")

	r.Loads = append(r.Loads, r.Loads[0], Load{Service: "b", Instance: "y"})
	measured, problems := r.Accept("n1", func(service, _ string) bool { return service == "a" })
	require.Len(t, measured, 1)
	require.Equal(t, []cluster.Problem{
		{Object: "node n1", Field: "loads[1]", What: `"x" of service "a" is reported twice: the first counts`, Fix: updateMonitor},
		{Object: "node n1", Field: "loads[2]", What: `"y" of service "b" does not run on this node`, Fix: "only an instance's own node may report for it"},
	}, problems)
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

func TestPolicy(t *testing.T) {
	t.Parallel()
	require.Empty(t, DefaultPolicy().Validate("a"))
	require.Empty(t, Policy{Blend: 100}.Validate("a"))
	bad := Policy{Blend: 101, Soft: 3 * time.Second, Hard: 2 * time.Second}
	problems := bad.Validate("a")
	require.Equal(t, []string{"blend", "latency"}, []string{problems[0].Field, problems[1].Field})
	require.Equal(t, Policy{Blend: 100, Soft: 3 * time.Second, Hard: 3 * time.Second}, bad.sound())
	require.Contains(t, Policy{Soft: -1}.Validate("a")[0].What, "negative")
	require.Equal(t, DefaultPolicy(), Policy{Blend: 100, Soft: -1, Hard: -1}.sound())
}

// What comes over the network never upsets the decision.
func FuzzReadReport(f *testing.F) {
	f.Add([]byte(sound))
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
