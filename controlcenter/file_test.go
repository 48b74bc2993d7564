package controlcenter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

const whole = `
# the documented form
name: a
vips: [10.10.1.128, "fd00::128"]
ports:
  - {name: web, port: 8080}
  - {name: dns, port: 53, protocol: udp}
balance: uniform
affinity: source
locality: prefer-zone
sources: [10.30.0.0/16, "fd30::/64"]
instances:
  - 192.168.10.100:80
  - {address: "192.168.10.101:80", weight: 2, labels: {zone: east}, standby: true}
  - address: "fd00:1::1"
    id: six
    ports: {web: 80, dns: 5353}
`

func TestReadFile(t *testing.T) {
	t.Parallel()
	entries, err := controlcenter.ReadFile("a.yaml", []byte(whole))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, &cluster.Service{
		Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.128"), netip.MustParseAddr("fd00::128")},
		Ports:   []cluster.Port{{Name: "web", Port: 8080, Protocol: cluster.TCP}, {Name: "dns", Port: 53, Protocol: cluster.UDP}},
		Balance: cluster.BalanceUniform, Affinity: cluster.AffinitySource, Locality: cluster.LocalityZone,
		Sources: []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16"), netip.MustParsePrefix("fd30::/64")},
		Instances: []cluster.Instance{
			{ID: "192.168.10.100:80", Addr: netip.MustParseAddr("192.168.10.100"), Port: 80, Weight: 1},
			{ID: "192.168.10.101:80", Addr: netip.MustParseAddr("192.168.10.101"), Port: 80, Weight: 2, Labels: map[string]string{"zone": "east"}, Standby: true},
			{ID: "six", Addr: netip.MustParseAddr("fd00:1::1"), Ports: map[string]uint16{"web": 80, "dns": 5353}, Weight: 1},
		},
	}, entries[0].Service)
}

func TestReadFileSeveralDocuments(t *testing.T) {
	t.Parallel()
	entries, err := controlcenter.ReadFile("f", []byte("---\nname: a\nports: [{port: 1}]\n---\n{\"name\": \"b\", \"ports\": [{\"port\": 2}]}\n---\n"))
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.Equal(t, "a", entries[0].Service.Name)
	require.Equal(t, "b", entries[1].Service.Name)
}

func TestReadFileRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, file, says string }{
		{"a source without a length", "name: a\nvips: [10.0.0.1]\nports: [{port: 1}]\nsources: [10.30.0.0]\n", "f:4: service a: sources[0]: \"10.30.0.0\" is not a network: write it as in 10.30.0.0/24"},
		{"malformed yaml", "name: a\n  ports: 3\n", "f:1: the file: mapping value is not allowed"},
		{"open list", "name: a\nports: [{port: 1}\n", "f:2: the file: sequence end token ']' not found"},
		{"malformed json", "{\"name\": \"a\",\n \"ports\": [{\"port\": 1}],,}", "f:2: the file: unexpected"},
		{"json cut off", "{\"name\": \"a\",\n \"ports\": [", "the file: "},
		{"not yaml at all", "\x00\x01\x02", "f:1: service: a mapping is wanted here, not the text"},
		{"empty", "", "f: the file: it holds no service"},
		{"only a comment", "# nothing\n", "f: the file: it holds no service"},
		{"a list", "- name: a\n", "f:1: service: a mapping is wanted here, not a list"},
		{"unknown field", "name: a\ncolour: 3\n", "f:2: service a: colour: this field is unknown: use one of affinity, balance, blend, check, instances, latency, load, locality, name, ports, replicas, restart, run, scale, sources, vips, warm"},
		{"unknown field of a port", "name: a\nports:\n- port: 1\n  protocl: udp\n", "f:4: service a: ports[0].protocl: this field is unknown: use one of name, port, protocol"},
		{"unknown field of an instance", "name: a\ninstances:\n- {address: 10.0.0.1:80, wieght: 2}\n", "f:3: service a: instances[0].wieght: this field is unknown"},
		{"standby of an odd kind", "name: a\ninstances:\n- {address: 10.0.0.1:80, standby: maybe}\n", "f:3: service a: instances[0].standby: true or false is wanted here"},
		{"field twice", "name: a\nname: b\n", "f:2: the file: mapping key \"name\" already defined"},
		{"no value", "name: a\nports:\n", "f:2: service a: ports: no value is given"},
		{"port too large", "name: a\nports:\n- port: 65536\n", "f:3: service a: ports[0].port: 65536 is outside 1..65535"},
		{"port negative", "name: a\nports: [{port: -1}]\n", "f:2: service a: ports[0].port: -1 is outside 1..65535"},
		{"port 0", "name: a\nports: [{port: 0}]\n", "f:2: service a: ports[0].port: 0 is outside 1..65535"},
		{"port as text says what to write", "name: a\nports: [{port: http}]\n", "write 1..65535 without quotes"},
		{"port as text", "name: a\nports: [{port: http}]\n", "f:2: service a: ports[0].port: a whole number is wanted here, not the text \"http\""},
		{"port as fraction", "name: a\nports: [{port: 1.5}]\n", "ports[0].port: a whole number is wanted here, not float"},
		{"port beyond 64 bit", "name: a\nports: [{port: 99999999999999999999}]\n", "ports[0].port: "},
		{"weight too large", "name: a\ninstances: [{address: 10.0.0.1:80, weight: 1001}]\n", "f:2: service a: instances[0].weight: 1001 is outside 0..1000"},
		{"ports of an instance too large", "name: a\ninstances: [{address: 10.0.0.1, ports: {web: 70000}}]\n", "instances[0].ports.web: 70000 is outside 1..65535"},
		{"protocol", "name: a\nports: [{port: 1, protocol: icmp}]\n", "f:2: service a: ports[0].protocol: protocol \"icmp\" is unknown: use tcp, udp or sctp"},
		{"VIP with port", "name: a\nvips:\n- 10.10.0.1:80\n", "f:3: service a: vips[0]: \"10.10.0.1:80\" is not an IP address: write it as in 10.10.1.128, without a port"},
		{"VIP is a name", "name: a\nvips: [db.example]\n", "is not an IP address"},
		{"instance is a name", "name: a\ninstances: [\"db.example:80\"]\n", "f:2: service a: instances[0]: instance address \"db.example:80\": want IP:PORT"},
		{"instance port 0", "name: a\ninstances: [\"10.0.0.1:0\"]\n", "port 0 cannot be connected to"},
		{"instance is a number", "name: a\ninstances: [5]\n", "f:2: service a: instances[0]: a mapping is wanted here, not integer"},
		{"alias", "name: &x a\nports: [{port: 1}]\n", "an anchor, alias or tag (they are not supported)"},
		{"merge key", "name: a\nports:\n- <<: {port: 1}\n", "not supported"},
		{"vips not a list", "name: a\nvips: 10.10.0.1\n", "f:2: service a: vips: a list is wanted here, not the text \"10.10.0.1\""},
		{"2 MB", "name: a\n#" + strings.Repeat("x", 2<<20), "f: the file: it is larger than 1 MiB"},
		{"deep brackets", strings.Repeat("[", 1<<20), "nests deeper than 32 levels"},
		{"deep braces across lines", strings.Repeat("{a:\n", 1<<18), "nests deeper than 32 levels"},
		{"deep dashes", strings.Repeat("- ", 1<<19), "nests deeper than 32 levels"},
		{"deep dashes with an end", strings.Repeat("- ", 1<<18) + "a", "nests deeper than 32 levels"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			_, err := controlcenter.ReadFile("f", []byte(test.file))
			require.ErrorContains(t, err, test.says)
			require.ErrorAs(t, err, new(*controlcenter.Refusal))
			require.Less(t, time.Since(start), 10*time.Second)
		})
	}
}

func TestReadFileReportsEverythingAtOnce(t *testing.T) {
	t.Parallel()
	_, err := controlcenter.ReadFile("f", []byte("vips: [x]\nports: [{port: 70000, proto: tcp}]\ninstances:\n- y\n- {address: z}\nfoo: 1\nname: a\n---\nname: b\nbar: 1\n"))
	lines := strings.Split(fmt.Sprint(err), "\n")
	require.Len(t, lines, 7)
	for i, want := range []string{"f:1: service a: vips[0]", "f:2: service a: ports[0].port", "f:2: service a: ports[0].proto", "f:4: service a: instances[0]", "f:5: service a: instances[1].address", "f:6: service a: foo", "f:10: service b: bar"} {
		require.True(t, strings.HasPrefix(lines[i], want), "line %d: %s", i, lines[i])
	}
}

// What cannot be read in one document hides neither its other mistakes nor those of the others.
func TestReadFileAlsoValidatesWhatItCouldRead(t *testing.T) {
	t.Parallel()
	entries, err := controlcenter.ReadFile("f", []byte(`name: a
balance: fair
ports: [{port: 80}]
vips: [10.0.0.1]
instances:
- {address: "127.0.0.1:80", weight: 1001}
---
name: b
affinity: cookie
vips: [10.0.0.1]
ports: [{port: 80}]
---
name: a
ports: [{port: 1}]
`))
	require.Len(t, entries, 3)
	require.EqualError(t, err, `f:6: service a: instances[0].weight: 1001 is outside 0..1000
f:2: service a: balance: "fair" is unknown: use uniform, static or adaptive
f:6: service a: instances[0].address: 127.0.0.1 is a loopback address: it would be another host on every node: use the address of a host that all nodes can reach
f:9: service b: affinity: "cookie" is unknown: use none or source
f:10: service b: vips[0]: 10.0.0.1:80 is taken by service a: choose another VIP or port, or withdraw a
f:13: service a: name: it is given twice: remove one`)
}

func TestPlanRefusesWhatCouldNotBeRead(t *testing.T) {
	t.Parallel()
	entries, err := controlcenter.ReadFile("f", []byte("name: a\nvips: [10.9.0.1]\nports: [{port: 70000}]\n"))
	require.Error(t, err)
	f := storetest.New()
	f.Edit(func(d *cluster.Draft) { d.Config(config("10.10.0.0/24")) })
	_, err = controlcenter.PlanAll(snapshot(t, f), entries)
	require.ErrorContains(t, err, "ports[0].port: 70000 is outside")
	require.ErrorContains(t, err, "10.9.0.1 is outside the VIP pools")
}

// A field that the store knows and the file reader does not would be refused as unknown.
func TestReadFileKnowsEveryFieldOfAService(t *testing.T) {
	t.Parallel()
	_, err := controlcenter.ReadFile("f", []byte("x: 1\n"))
	for field := range reflect.TypeFor[cluster.Service]().Fields() {
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag != "-" {
			require.ErrorContains(t, err, tag)
		}
	}
}

func TestReadFileReadsWhatJSONWrites(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := &cluster.Service{
			Name:    rapid.SampledFrom([]string{"a", "123", "true", "a.b-c"}).Draw(t, "name"),
			VIPs:    rapid.SliceOfN(rapid.SampledFrom([]netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}), 0, 2).Draw(t, "vips"),
			Balance: rapid.SampledFrom([]cluster.Balance{"", "uniform", "adaptive"}).Draw(t, "balance"),
			Ports:   []cluster.Port{{Name: "web", Port: rapid.Uint16Min(1).Draw(t, "port"), Protocol: rapid.SampledFrom([]cluster.Proto{cluster.TCP, cluster.UDP, cluster.SCTP}).Draw(t, "proto")}},
		}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			i, err := cluster.ParseInstance(rapid.SampledFrom([]string{"192.168.1.1:80", "192.168.1.1", "[fd00::1]:80", "fd00::1"}).Draw(t, "address"))
			require.NoError(t, err)
			i.Weight = rapid.IntRange(0, 1000).Draw(t, "weight")
			i.Ports = rapid.SampledFrom([]map[string]uint16{nil, {"web": 80}}).Draw(t, "ports")
			i.Labels = rapid.SampledFrom([]map[string]string{nil, {"zone": "e\x1b[1m\n\"x"}}).Draw(t, "labels")
			want.Instances = append(want.Instances, i)
		}
		text, err := json.Marshal(want)
		require.NoError(t, err)
		got, err := controlcenter.ReadFile("f", text)
		require.NoError(t, err, "%s", text)
		if len(want.VIPs) == 0 {
			want.VIPs = nil
		}
		require.Equal(t, want, got[0].Service)
	})
}

func FuzzReadFile(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"name": "a", "ports": [{"port": 1}]}`))
	f.Add([]byte("a: &b [*b]\n? {x: 1}\n: - |\n  y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := controlcenter.ReadFile("f", data)
		if err == nil && len(entries) == 0 {
			t.Fatal("nothing read, and no error")
		}
		if refusal := new(controlcenter.Refusal); err != nil && !errors.As(err, &refusal) {
			t.Fatalf("%T is not a refusal", err)
		}
	})
}

func FuzzReadConfig(f *testing.F) {
	f.Add([]byte("vip_pools: [10.0.0.0/8]\ninstance_networks: [\"fd00::/8\"]\nnode_addresses: {n1: [192.0.2.1/32]}\npaused: true\n"))
	f.Add([]byte(`{"vip_pools": null, "node_addresses": {"": [null]}}`))
	f.Add([]byte("a: &a [*a, *a]\n<<: *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := controlcenter.ReadConfig("f", data)
		if refusal := new(controlcenter.Refusal); err != nil && !errors.As(err, &refusal) {
			t.Fatalf("%T is not a refusal", err)
		}
		if err == nil {
			c.Config.Validate(nil)
		}
	})
}

// TestBombs has files that are small and would be large, or deep, if they were believed.
func TestBombs(t *testing.T) {
	t.Parallel()
	laughs := "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10))
	}
	maps := "a0: &a0 {n: [10.0.0.0/8]}\n"
	for i := 1; i < 20; i++ {
		maps += fmt.Sprintf("a%d: &a%d {%s}\n", i, i, strings.Repeat(fmt.Sprintf("<<: *a%d, ", i-1), 10))
	}
	for name, file := range map[string]string{
		"laughs": laughs + "vip_pools: *a11\n", "merged": maps + "node_addresses:\n  <<: *a19\n", "deep": "vip_pools: " + strings.Repeat("[", 500_000),
		"itself": "vip_pools: &a [*a]\nnode_addresses: &b {x: *b}\n", "large": "vip_pools: [" + strings.Repeat("10.0.0.0/8,", 200_000) + "]",
		"many": "vip_pools: [" + strings.Repeat("10.0.0.0/8,", 2_000) + "]", "keys": strings.Repeat("? ", 300_000),
	} {
		for kind, read := range map[string]func() error{
			"config": func() error {
				c, err := controlcenter.ReadConfig("f", []byte(file))
				if err != nil {
					return err
				}
				return c.Config.Validate(nil)[0]
			},
			"services": func() error { _, err := controlcenter.ReadFile("f", []byte(file)); return err },
		} {
			t.Log(name, kind)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			require.Error(t, read(), "%s as %s", name, kind)
			require.Less(t, time.Since(start), 2*time.Minute, "%s as %s", name, kind) // what is believed takes days
			runtime.ReadMemStats(&after)
			require.Less(t, after.Sys, before.Sys+512<<20, "%s as %s", name, kind)
		}
	}
}
