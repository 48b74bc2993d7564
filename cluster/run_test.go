package cluster_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestValidateNamesEachMistakeOfALaunch(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, service, says string }{
		{"replicas without run", `"replicas": 2`, "run: instances can only be started where it says how"},
		{"scale without run", `"scale": {"max": 2}`, "run: instances can only be started"},
		{"more at least than are listed", `"scale": {"min": 2, "max": 2}, "instances": [{"address": "192.168.0.1:80", "standby": true}]`, "scale.min: 2 are more than the 1 instances"},
		{"standby of a launched service", `"run": {"command": ["/x"]}, "instances": [{"address": "192.168.0.1:80", "standby": true}]`, "instances[0].standby: those of a service with run"},
		{"scale without one that stands by", `"scale": {"max": 2}, "instances": [{"address": "192.168.0.1:80"}]`, "some of them with standby: true"},
		{"warm without run", `"warm": 2`, "run: instances can only be started"},
		{"restart without run", `"restart": {"after": 2}`, "restart: only instances that are started by run"},
		{"no command", `"run": {}`, "run.command: it begins with no absolute path"},
		{"an image without a hook", `"run": {"command": ["/x"], "image": "shop:1"}`, "run.image: only a hook starts images"},
		{"no name of an image", `"run": {"driver": "hook", "image": "shop 1"}`, "run.image: \"shop 1\" is no name of an image"},
		{"a relative command", `"run": {"command": ["sleep"]}`, "run.command"},
		{"a driver", `"run": {"driver": "vm", "command": ["/x"]}`, `run.driver: "vm" is unknown: use process, hook or external`},
		{"a directory", `"run": {"command": ["/x"], "dir": "srv"}`, `run.dir: "srv" is no absolute path`},
		{"a user", `"run": {"command": ["/x"], "user": "a b"}`, `run.user: "a b" is no user`},
		{"a variable", `"run": {"command": ["/x"], "env": {"A-B": "1"}}`, `run.env: "A-B" is no name of a variable`},
		{"a variable of the launcher's", `"run": {"command": ["/x"], "env": {"PORT_WEB": "1"}}`, "run.env: PORT_WEB is what the instance is told"},
		{"a value with a NUL", `"run": {"command": ["/x"], "env": {"A": "\u0000"}}`, "run.env: the value of A"},
		{"cpu", `"run": {"command": ["/x"], "resources": {"cpu": -1}}`, "run.resources.cpu: -1 is outside"},
		{"grace", `"run": {"command": ["/x"], "grace": "2h"}`, "run.grace: 2h0m0s is outside"},
		{"drain", `"run": {"command": ["/x"], "drain": "25h"}`, "run.drain: 25h0m0s is outside"},
		{"log", `"run": {"command": ["/x"], "log": "syslog.example"}`, `run.log: "syslog.example" is no log address`},
		{"log by a name", `"run": {"command": ["/x"], "log": "udp://syslog.example:514"}`, `run.log: "udp://syslog.example:514" is no log address: write udp://ADDRESS:PORT`},
		{"external without an address", `"run": {"driver": "external"}`, "run.instances: an external instance is known by its address alone"},
		{"external with a command", `"run": {"driver": "external", "command": ["/x"], "instances": [{"address": "192.168.0.1:80"}]}`, "run.command: external instances are never started"},
		{"external that scales", `"run": {"driver": "external", "instances": [{"address": "192.168.0.1:80"}]}, "replicas": 2`, "run.instances: all that are listed serve"},
		{"external on loopback", `"run": {"driver": "external", "instances": [{"address": "127.0.0.1:80"}]}`, "run.instances[0].address: "},
		{"addresses of what is launched", `"run": {"command": ["/x"], "instances": [{"address": "192.168.0.1:80"}]}`, "run.instances: instances that are started here"},
		{"a token of its own", `"run": {"command": ["/x"], "env": {"WEIR_TOKEN": "x"}}`, "run.env: WEIR_TOKEN is what the instance is told"},
		{"log without a port", `"run": {"command": ["/x"], "log": "udp://a"}`, "run.log"},
		{"labels", `"run": {"command": ["/x"], "nodes": {"zone": "a\nb"}}`, `run.nodes: label "zone" is not a line`},
		{"replicas", `"run": {"command": ["/x"]}, "replicas": 1001`, "replicas: 1001 is outside 0..1000"},
		{"replicas and scale", `"run": {"command": ["/x"]}, "replicas": 1, "scale": {"max": 2}`, "replicas: the number follows the load"},
		{"warm", `"run": {"command": ["/x"]}, "warm": 101`, "warm: 101 is outside 0..100"},
		{"restart", `"run": {"command": ["/x"]}, "restart": {"after": -1}`, "restart.after: -1 is outside"},
		{"max below min", `"run": {"command": ["/x"]}, "scale": {"min": 3, "max": 2}`, "scale.max: 2 is below the 3"},
		{"max 0", `"run": {"command": ["/x"]}, "scale": {"max": 0}`, "scale.max: 0 is below the 1"},
		{"max", `"run": {"command": ["/x"]}, "scale": {"max": 2000}`, "scale: 0..2000 is outside 0..1000"},
		{"a negative min", `"run": {"command": ["/x"]}, "scale": {"min": -1, "max": 1}`, "scale: -1..1 is outside"},
		{"a metric", `"run": {"command": ["/x"]}, "scale": {"max": 1, "metrics": [{"metric": "cpu", "target": 1}]}`, `scale.metrics[0]: metric "cpu" is unknown`},
		{"a metric twice", `"run": {"command": ["/x"]}, "scale": {"max": 1, "metrics": [{"metric": "rate", "target": 1}, {"metric": "rate", "target": 2}]}`, "scale.metrics[1]: metric rate is given twice"},
		{"a negative target", `"run": {"command": ["/x"]}, "scale": {"max": 1, "metrics": [{"metric": "rate", "target": -1}]}`, "a target of -1 cannot be met"},
		{"a target beyond 1", `"run": {"command": ["/x"]}, "scale": {"max": 1, "metrics": [{"metric": "busy", "target": 60}]}`, "a target of 60 is never reached"},
		{"window", `"run": {"command": ["/x"]}, "scale": {"max": 1, "window": "-1s"}`, "scale.window: -1s is outside"},
		{"idle", `"run": {"command": ["/x"]}, "scale": {"max": 1, "idle": "25h"}`, "scale.idle: 25h0m0s is outside"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &cluster.Service{}
			require.NoError(t, json.Unmarshal([]byte(`{"name": "a", "ports": [{"port": 80, "protocol": "tcp"}],`+test.service+`}`), s))
			problems := s.Validate(nil)
			require.Len(t, problems, 1)
			require.Contains(t, problems[0].Error(), test.says)
			require.NotEmpty(t, problems[0].Fix)
		})
	}
}

func TestBytesAreText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]cluster.Bytes{"256MiB": 256 << 20, "2GiB": 2 << 30, "1536KiB": 1536 << 10, "7B": 7, "1TiB": 1 << 40, "0B": 0} {
		var b cluster.Bytes
		require.NoError(t, b.UnmarshalText([]byte(text)))
		require.Equal(t, want, b)
		require.Equal(t, text, b.String())
	}
	for _, text := range []string{"", "5", "5MB", "-1MiB", "1.5GiB", "99999999999TiB", "MiB"} {
		require.ErrorContains(t, new(cluster.Bytes).UnmarshalText([]byte(text)), "is not an amount of memory", text)
	}
}

func TestPortRangeIsText(t *testing.T) {
	t.Parallel()
	var r cluster.PortRange
	require.NoError(t, r.UnmarshalText([]byte("20000-29999")))
	require.Equal(t, cluster.PortRange{From: 20000, To: 29999}, r)
	require.True(t, r.Contains(20000) && r.Contains(29999) && !r.Contains(19999) && !r.Contains(30000))
	text, err := r.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "20000-29999", string(text))
	for _, text := range []string{"", "1", "2-1", "0-5", "1-70000", "1-2 ", "1-2x", "-1-2"} {
		require.ErrorContains(t, r.UnmarshalText([]byte(text)), "is no range of ports", text)
	}
}

func TestLaunchersHoldInstancesBack(t *testing.T) {
	t.Parallel()
	s := service(t, "a", 3)
	s.Instances[1].Standby, s.Instances[2].Draining = true, true
	var statuses []cluster.Status
	for _, i := range cluster.Resolve(&cluster.Inputs{Service: s}).Instances {
		statuses = append(statuses, i.Status)
	}
	require.Equal(t, []cluster.Status{cluster.Serving, cluster.Standby, cluster.Draining}, statuses)
}

// TestWhoIsCalledServes as long as nothing else speaks against it.
func TestWhoIsCalledServes(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	s := service(t, "a", 4)
	for i := range s.Instances[1:] {
		s.Instances[1+i].Standby = true
	}
	ids := []string{s.Instances[0].ID, s.Instances[1].ID, s.Instances[2].ID, s.Instances[3].ID}
	in := &cluster.Inputs{Service: s, Called: &cluster.Called{Instances: map[string]cluster.Call{
		ids[1]: {Serving: true, Reason: "3 are wanted", Since: noon}, ids[2]: {Serving: true}, ids[3]: {Reason: "2 are wanted", Since: noon},
	}}, Admin: map[string]cluster.Admin{ids[2]: {Standby: true}}}
	require.True(t, in.StandsBy())
	all, always := in.Reserves()
	require.Equal(t, []int{4, 1}, []int{all, always})
	states := cluster.Resolve(in).Instances
	require.Equal(t, []cluster.Status{cluster.Serving, cluster.Serving, cluster.Standby, cluster.Standby}, []cluster.Status{states[0].Status, states[1].Status, states[2].Status, states[3].Status})
	require.Equal(t, []string{"", "called: 3 are wanted", "standby by an operator", "2 are wanted"}, []string{states[0].Reason, states[1].Reason, states[2].Reason, states[3].Reason})
	require.Equal(t, noon, states[1].Since)
	require.Equal(t, noon, states[3].Since)
	in.Health = map[string]cluster.Health{ids[1]: {Verdict: cluster.Dead, Reason: "refused"}}
	require.Equal(t, "refused", cluster.Resolve(in).Instances[1].Reason)
	s.Run = &cluster.Run{Command: []string{"/x"}}
	require.False(t, in.StandsBy(), "launchers have a pool of their own")
	s.Run.Driver = cluster.DriverExternal
	require.True(t, in.StandsBy())
}
