package cluster_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestValidateNamesEachMistakeOfAServicesHealth(t *testing.T) {
	t.Parallel()
	seconds := func(n int) cluster.Duration { return cluster.Duration(time.Duration(n) * time.Second) }
	tests := []struct{ name, service, says string }{
		{"no kind", `"check": {}`, "check: it has 0 kinds: give one of tcp, http, grpc, exec and ttl"},
		{"two kinds", `"check": {"tcp": {}, "ttl": {}}`, "check: it has 2 kinds"},
		{"too often", `"check": {"tcp": {}, "interval": "100ms"}`, "check.interval: 100ms is outside 200ms..1h0m0s"},
		{"too seldom", `"check": {"tcp": {}, "interval": "2h"}`, "check.interval"},
		{"a timeout beyond the interval", `"check": {"tcp": {}, "interval": "1s", "timeout": "2s"}`, "check.timeout: 2s is not within the interval of 1s"},
		{"a negative timeout", `"check": {"tcp": {}, "timeout": "-1s"}`, "check.timeout"},
		{"rise", `"check": {"tcp": {}, "rise": 101}`, "check.rise: 101 is outside 1..100"},
		{"fall", `"check": {"tcp": {}, "fall": -1}`, "check.fall: -1 is outside 1..100"},
		{"grace", `"check": {"tcp": {}, "grace": "2h"}`, "check.grace: 2h0m0s is outside"},
		{"a path without its slash", `"check": {"http": {"path": "healthz"}}`, `check.http.path: "healthz" is no path`},
		{"a path with a line break", `"check": {"http": {"path": "/a\r\nX: y"}}`, "check.http.path"},
		{"a status", `"check": {"http": {"status": "ok"}}`, `check.http.status: "ok" is neither a status nor a range`},
		{"a range backwards", `"check": {"http": {"status": "399-200"}}`, "check.http.status"},
		{"a host", `"check": {"http": {"host": "a b"}}`, "check.http.host"},
		{"contains", `"check": {"http": {"contains": "` + strings.Repeat("x", 1025) + `"}}`, "check.http.contains: it is too long"},
		{"a header's name", `"check": {"http": {"headers": {"a b": "c"}}}`, `check.http.headers: header "a b" cannot be sent`},
		{"a header's value", `"check": {"http": {"headers": {"a": "c\nd"}}}`, "check.http.headers"},
		{"Host among the headers", `"check": {"http": {"headers": {"host": "x"}}}`, "host: for Host"},
		{"the name of a grpc service", `"check": {"grpc": {"service": "` + strings.Repeat("x", 1025) + `"}}`, "check.grpc.service"},
		{"a program without its path", `"check": {"exec": {"command": ["true"]}}`, "check.exec.command: it begins with no absolute path"},
		{"a program with a NUL", `"check": {"exec": {"command": ["/bin/true", "\u0000"]}}`, "check.exec.command"},
		{"a short TTL", `"check": {"ttl": {"ttl": "10ms"}}`, "check.ttl.ttl: 10ms is outside 1s..1h0m0s"},
		{"a port that is not there", `"check": {"tcp": {}, "port": "x"}`, `check.port: the service has no port named "x"`},
		{"a port for a program", `"check": {"exec": {"command": ["/x"]}, "port": "web"}`, "check.port"},
		{"a port of another protocol", `"check": {"tcp": {}, "port": "dns"}`, "check: it connects by TCP"},
		{"no source of load", `"load": {}`, "load: it needs exactly one of http and agent"},
		{"two sources of load", `"load": {"http": "/", "agent": 1}`, "load: it needs exactly one"},
		{"a load's path", `"load": {"http": "x"}`, `load.http: "x" is no path`},
		{"a load's port", `"load": {"http": "/x", "port": "dns"}`, `load.port: the service has no TCP port named "dns"`},
		{"blend", `"balance": "adaptive", "blend": 101`, "blend: 101 is outside 0..100"},
		{"blend without adaptive", `"blend": 10`, "blend: it mixes weights that follow the load"},
		{"a negative limit", `"latency": {"soft": "-1s"}`, "latency: a limit is negative"},
		{"limits that cross", `"latency": {"soft": "2s"}`, "latency: the hard limit 1s is below the soft limit 2s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &cluster.Service{}
			require.NoError(t, json.Unmarshal([]byte(`{"name": "a", "vips": ["10.0.0.1"], "ports": [{"name": "web", "port": 80, "protocol": "tcp"}, {"name": "dns", "port": 53, "protocol": "udp"}],`+test.service+`}`), s))
			problems := s.Validate(nil)
			require.Len(t, problems, 1)
			require.Contains(t, problems[0].Error(), test.says)
			require.NotEmpty(t, problems[0].Fix)
		})
	}
	udp := &cluster.Service{Name: "a", Ports: []cluster.Port{{Port: 53, Protocol: cluster.UDP}}, Check: &cluster.Check{HTTP: &cluster.HTTPCheck{}}, Load: &cluster.LoadSource{HTTP: "/"}}
	require.Len(t, udp.Validate(nil), 2, "nothing to connect to")
	udp.Check, udp.Load = &cluster.Check{TTL: &cluster.TTLCheck{TTL: seconds(5)}}, &cluster.LoadSource{Agent: 90}
	require.Empty(t, udp.Validate(nil))
}

func TestCheckDefaults(t *testing.T) {
	t.Parallel()
	got := cluster.Check{HTTP: &cluster.HTTPCheck{}, Interval: cluster.Duration(500 * time.Millisecond)}.WithDefaults()
	require.Equal(t, cluster.Check{
		HTTP: &cluster.HTTPCheck{Path: "/", Status: "200-399"}, Interval: cluster.Duration(500 * time.Millisecond), Timeout: cluster.Duration(500 * time.Millisecond), Rise: 2, Fall: 3,
	}, got)
	require.Equal(t, 30*time.Second, time.Duration(cluster.Check{TTL: &cluster.TTLCheck{}}.WithDefaults().TTL.TTL))
	for text, want := range map[string][2]int{"204": {204, 204}, "200-399": {200, 399}, "99": {}, "200-600": {}, "2-3-4": {}, "": {}} {
		from, to := cluster.StatusRange(text)
		require.Equal(t, want, [2]int{from, to}, text)
	}
}

func TestDurationIsText(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(cluster.Duration(1500 * time.Millisecond))
	require.NoError(t, err)
	require.Equal(t, `"1.5s"`, string(text))
	var d cluster.Duration
	require.NoError(t, json.Unmarshal(text, &d))
	require.Equal(t, cluster.Duration(1500*time.Millisecond), d)
	require.ErrorContains(t, json.Unmarshal([]byte(`"5"`), &d), `"5" is not a duration: write a number and its unit`)
}

func TestLeavingIsOutDownToNone(t *testing.T) {
	t.Parallel()
	s := &cluster.Service{Name: "a", Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}}
	health := map[string]cluster.Health{}
	for _, address := range []string{"192.0.2.1:80", "192.0.2.2:80"} {
		i, err := cluster.ParseInstance(address)
		require.NoError(t, err)
		s.Instances = append(s.Instances, i)
		health[i.ID] = cluster.Health{Verdict: cluster.Leaving, Reason: "maint"}
	}
	r := cluster.Resolve(&cluster.Inputs{Service: s, Health: health})
	for _, i := range r.Instances {
		require.Equal(t, cluster.IsLeaving, i.Status)
		require.Equal(t, "maint", i.Reason)
		require.False(t, i.Takes())
	}
	require.Empty(t, r.Problems, "nothing is wrong with what was asked for")
}
