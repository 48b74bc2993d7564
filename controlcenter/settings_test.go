package controlcenter_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

const checked = `
name: a
ports: [{name: web, port: 80}, {name: grpc, port: 81}]
balance: adaptive
blend: 50
latency: {soft: 50ms, hard: 2s}
load: {http: /load, port: web}
check:
  http:
    path: /healthz
    host: a.example:8080
    headers: {X-Check: "1"}
    status: 200-299
    contains: fine
    tls: {name: a.example, verify: true}
  port: web
  interval: 5s
  timeout: 500ms
  rise: 1
  fall: 4
  grace: 1m
`

func TestReadFileReadsChecksAndLimits(t *testing.T) {
	t.Parallel()
	entries, err := controlcenter.ReadFile("f", []byte(checked))
	require.NoError(t, err)
	s := entries[0].Service
	require.Empty(t, s.Validate(nil))
	percent := 50
	require.Equal(t, &percent, s.Blend)
	require.Equal(t, &cluster.Latency{Soft: cluster.Duration(50 * time.Millisecond), Hard: cluster.Duration(2 * time.Second)}, s.Latency)
	require.Equal(t, &cluster.LoadSource{HTTP: "/load", Port: "web"}, s.Load)
	require.Equal(t, &cluster.Check{
		HTTP: &cluster.HTTPCheck{
			Path: "/healthz", Host: "a.example:8080", Headers: map[string]string{"X-Check": "1"}, Status: "200-299", Contains: "fine",
			TLS: &cluster.CheckTLS{Name: "a.example", Verify: true},
		},
		Port: "web", Interval: cluster.Duration(5 * time.Second), Timeout: cluster.Duration(500 * time.Millisecond), Rise: 1, Fall: 4, Grace: cluster.Duration(time.Minute),
	}, s.Check)
	require.Equal(t, `http /healthz of host a.example:8080 answers 200-299 with headers {"X-Check"="1"} contains "fine" by TLS as a.example verified on port web `+
		`every 5s, timeout 500ms, rise 1, fall 4, grace 1m0s`, controlcenter.Check(s))
	require.Equal(t, "http /load on port web", controlcenter.Load(s))
}

func TestSettingsAreToldWhereTheyDiffer(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	s := storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80")
	s.Check, s.Load = &cluster.Check{TCP: &cluster.TCPCheck{}}, &cluster.LoadSource{Agent: 90}
	f.Put(t, s)
	next := *s
	next.Check, next.Load = &cluster.Check{TTL: &cluster.TTLCheck{}, Fall: 1}, nil
	plan, err := controlcenter.PlanPublish(snapshot(t, f), &next)
	require.NoError(t, err)
	require.Equal(t, []controlcenter.Step{
		{Sign: "~", What: "check", From: "tcp every 2s, timeout 1s, rise 2, fall 3", To: "ttl 30s every 2s, timeout 1s, rise 2, fall 1"},
		{Sign: "~", What: "load", From: "agent on port 90", To: "none"},
	}, plan.Steps)
}

// TestChecksInWordsDiffer whenever the checks do: a plan must not hide a change.
func TestChecksInWordsDiffer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := &cluster.Service{Check: checks(t, "a")}, &cluster.Service{Check: checks(t, "b")}
		if controlcenter.Check(a) == controlcenter.Check(b) {
			require.Equal(t, a.Check.WithDefaults(), b.Check.WithDefaults())
		}
		text, err := json.Marshal(map[string]any{"name": "a", "ports": []any{map[string]any{"port": 1}}, "check": a.Check})
		require.NoError(t, err)
		entries, err := controlcenter.ReadFile("f", text)
		if err != nil { // a value that no check may have
			require.ErrorContains(t, err, "check")
			return
		}
		require.Equal(t, a.Check, entries[0].Service.Check)
	})
}

func checks(t *rapid.T, label string) *cluster.Check {
	pick := func(name string, from ...string) string {
		return rapid.SampledFrom(append(from, "")).Draw(t, label+name)
	}
	short := func(name string) cluster.Duration {
		return cluster.Duration(rapid.SampledFrom([]time.Duration{0, 300 * time.Millisecond, time.Second}).Draw(t, label+name))
	}
	tls := rapid.SampledFrom([]*cluster.CheckTLS{nil, {}, {Name: "x"}, {Verify: true}}).Draw(t, label+"tls")
	c := &cluster.Check{Port: pick("port", "web"), Interval: 4 * short("interval"), Timeout: short("timeout"), Grace: short("grace"), Fall: rapid.IntRange(0, 2).Draw(t, label+"fall"), Rise: rapid.IntRange(0, 3).Draw(t, label+"rise")}
	switch pick("kind", "tcp", "http", "grpc", "exec") {
	case "tcp":
		c.TCP = &cluster.TCPCheck{}
	case "http":
		c.HTTP = &cluster.HTTPCheck{Path: pick("path", "/a", "/"), Host: pick("host", "h"), Status: pick("status", "204", "200-399"), Contains: pick("contains", "fine"), TLS: tls}
		if pick("headers", "yes") != "" {
			c.HTTP.Headers = map[string]string{"X": pick("value", "1")}
		}
	case "grpc":
		c.GRPC = &cluster.GRPCCheck{Service: pick("service", "s"), TLS: tls}
	case "exec":
		c.Exec = &cluster.ExecCheck{Command: []string{"/bin/x", pick("argument", "y z")}}
	default:
		c.TTL = &cluster.TTLCheck{TTL: 10 * short("ttl")}
	}
	return c
}
