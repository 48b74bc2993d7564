package controlcenter_test

import (
	"encoding/json"
	"net/netip"
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

const launched = `
name: a
ports: [{port: 80}]
run:
  command: [/usr/bin/a, -v]
  env: {COLOUR: blue}
  dir: /srv
  user: www-data
  resources: {cpu: 0.5, memory: 256MiB}
  grace: 30s
  drain: 2m
  log: udp://10.0.0.9:514
  nodes: {zone: east}
scale: {min: 0, max: 12, metrics: [{metric: busy, target: 0.6}, {metric: connections, target: 100}], window: 10m, idle: 1h}
warm: 2
restart: {after: 7}
`

func TestReadFileReadsWhatIsLaunched(t *testing.T) {
	t.Parallel()
	entries, err := controlcenter.ReadFile("f", []byte(launched))
	require.NoError(t, err)
	s := entries[0].Service
	require.Empty(t, s.Validate(nil))
	require.Equal(t, &cluster.Run{
		Command: []string{"/usr/bin/a", "-v"}, Env: map[string]string{"COLOUR": "blue"}, Dir: "/srv", User: "www-data",
		Resources: cluster.Resources{CPU: 0.5, Memory: 256 << 20}, Grace: cluster.Duration(30 * time.Second), Drain: cluster.Duration(2 * time.Minute), Log: "udp://10.0.0.9:514", Nodes: map[string]string{"zone": "east"},
	}, s.Run)
	require.Equal(t, &cluster.Scale{
		Max: 12, Metrics: []cluster.ScaleMetric{{Metric: "busy", Target: 0.6}, {Metric: "connections", Target: 100}},
		Window: cluster.Duration(10 * time.Minute), Idle: cluster.Duration(time.Hour),
	}, s.Scale)
	require.Equal(t, 2, s.Warm)
	require.Equal(t, &cluster.Restart{After: 7}, s.Restart)
	require.Equal(t, `process ["/usr/bin/a" "-v"] with {"COLOUR"="blue"} in /srv as www-data cpu 0.5 memory 256MiB grace 30s drain 2m0s log to udp://10.0.0.9:514 on nodes {"zone"="east"}`, controlcenter.Run(s))
	require.Equal(t, "0..12 busy 0.6 connections 100 window 10m0s idle 1h0m0s", controlcenter.Scale(s))

	entries, err = controlcenter.ReadFile("f", []byte("name: b\nports: [{port: 80}]\nrun: {driver: hook, image: \"shop:7\"}\n"))
	require.NoError(t, err)
	require.Empty(t, entries[0].Service.Validate(nil))
	require.Equal(t, "hook image shop:7 grace 10s", controlcenter.Run(entries[0].Service))

	text, err := json.Marshal(s)
	require.NoError(t, err)
	again, err := controlcenter.ReadFile("f", text)
	require.NoError(t, err)
	require.Equal(t, s, again[0].Service)

	f := storetest.New()
	s.VIPs = []netip.Addr{netip.MustParseAddr("10.10.1.1")}
	f.Put(t, s)
	next := *s
	next.Warm, next.Restart, next.Run = 0, nil, &cluster.Run{Command: []string{"/usr/bin/b"}}
	plan, err := controlcenter.PlanPublish(snapshot(t, f), &next)
	require.NoError(t, err)
	told := map[string]string{}
	for _, step := range plan.Steps {
		told[step.What] = step.To
	}
	require.Equal(t, map[string]string{
		"run": `process ["/usr/bin/b"] grace 10s`, "warm": "0", "restart": "after three times the check's fall",
	}, told)
}

func TestReadFileRefusesAmounts(t *testing.T) {
	t.Parallel()
	for file, says := range map[string]string{
		"run: {resources: {memory: 5}}":                     `run.resources.memory: "5" is not an amount of memory: write a whole number and its unit, as in 256MiB`,
		"run: {resources: {cpu: half}}":                     "run.resources.cpu: a number is wanted here, not the text \"half\"",
		"scale: {max: 0}":                                   "scale.max: 0 is outside 1..1000",
		"check: {tcp: {}, interval: 5}":                     `check.interval: "5" is not a duration`,
		"check: {http: {tls: {verify: yes-or-no}}}":         "check.http.tls.verify: true or false is wanted here",
		"instances: [{address: 1.2.3.4:5, draining: true}]": "instances[0].draining: this field is unknown",
	} {
		_, err := controlcenter.ReadFile("f", []byte("name: a\nports: [{port: 1}]\n"+file+"\n"))
		require.ErrorContains(t, err, says)
	}
}
