package etcd

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

func addresses() *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		if rapid.Bool().Draw(t, "v4") {
			return netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4 bytes")))
		}
		return netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6 bytes")))
	})
}

func texts() *rapid.Generator[string] { return rapid.StringOf(rapid.Rune()) }

func times() *rapid.Generator[time.Time] {
	return rapid.Map(rapid.Int64Range(1, 4e9), func(s int64) time.Time { return time.Unix(s, 0).UTC() })
}

func labels(t *rapid.T) map[string]string {
	if m := rapid.MapOfN(texts(), texts(), 0, 3).Draw(t, "labels"); len(m) > 0 {
		return m
	}
	return nil
}

func instances() *rapid.Generator[cluster.Instance] {
	return rapid.Custom(func(t *rapid.T) cluster.Instance {
		i := cluster.Instance{
			ID: ids().Draw(t, "id"), Addr: addresses().Draw(t, "address"), Port: rapid.Uint16().Draw(t, "port"),
			Weight: rapid.IntRange(0, cluster.MaxWeight).Draw(t, "weight"), Labels: labels(t),
		}
		if ports := rapid.MapOfN(names(), rapid.Uint16(), 0, 3).Draw(t, "ports"); len(ports) > 0 {
			i.Ports = ports
		}
		return i
	})
}

func services(name string) *rapid.Generator[cluster.Service] {
	return rapid.Custom(func(t *rapid.T) cluster.Service {
		s := cluster.Service{
			Name:     name,
			Balance:  rapid.SampledFrom([]cluster.Balance{"", cluster.BalanceUniform, cluster.BalanceAdaptive}).Draw(t, "balance"),
			Affinity: rapid.SampledFrom([]cluster.Affinity{"", cluster.AffinitySource}).Draw(t, "affinity"),
			Locality: rapid.SampledFrom([]cluster.Locality{"", cluster.LocalityNode, cluster.LocalityZone}).Draw(t, "locality"),
		}
		for i := range rapid.IntRange(1, 5).Draw(t, "ports") {
			proto := rapid.SampledFrom([]cluster.Proto{cluster.TCP, cluster.UDP, cluster.SCTP}).Draw(t, "protocol")
			s.Ports = append(s.Ports, cluster.Port{Name: fmt.Sprint("p", i), Port: uint16(i + 1), Protocol: proto})
		}
		s.VIPs = rapid.SliceOfN(addresses(), 1, 4).Draw(t, "vips")
		s.Instances = rapid.SliceOfN(instances(), 1, 5).Draw(t, "instances")
		return s
	})
}

// requireReadsBack is the law of the codec, and that what was read stays the same for ever after.
func requireReadsBack(t *rapid.T, key string, v any) {
	k, err := ParseKey(key)
	require.NoError(t, err)
	text, err := encode(v)
	require.NoError(t, err)
	require.NotContains(t, string(text), "\n")
	got, err := decodeValue(k, text)
	require.NoError(t, err, "%s", text)
	require.Equal(t, v, got, "%s", text)
}

func TestDecodeReadsWhatEncodeWrote(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := services("a").Draw(t, "service")
		requireReadsBack(t, "net/services/a", &s)
		i := instances().Draw(t, "instance")
		i.Node = "n1"
		requireReadsBack(t, "net/instances/n1/a/"+i.ID, &i)
		weight := rapid.IntRange(0, cluster.MaxWeight).Draw(t, "admin weight")
		requireReadsBack(t, "net/admin/a/x", &cluster.Admin{
			Drain: rapid.Bool().Draw(t, "drain"), Weight: &weight, Reason: texts().Draw(t, "reason"), Since: times().Draw(t, "since"),
		})
		requireReadsBack(t, "net/admin-node/n1", &cluster.NodeAdmin{Cordon: true, Reason: texts().Draw(t, "reason")})
		requireReadsBack(t, "net/weights/a", &cluster.Weights{
			Share:   map[string]int{texts().Draw(t, "id"): rapid.IntRange(0, cluster.MaxShare).Draw(t, "share")},
			Ejected: map[string]cluster.Ejection{texts().Draw(t, "id"): {Reason: texts().Draw(t, "reason"), Since: times().Draw(t, "since")}},
		})
		requireReadsBack(t, "net/health/n1", &cluster.NodeHealth{
			texts().Draw(t, "service"): {texts().Draw(t, "id"): {Verdict: cluster.Dead, Reason: texts().Draw(t, "reason"), Since: times().Draw(t, "since")}},
		})
		requireReadsBack(t, "net/down/n1", &cluster.Down{Reason: texts().Draw(t, "reason"), Since: times().Draw(t, "since")})
		requireReadsBack(t, "net/nodes/n1", &cluster.Node{
			Addresses: rapid.SliceOfN(addresses(), 1, 3).Draw(t, "addresses"), Labels: labels(t), Version: texts().Draw(t, "version"),
		})
		requireReadsBack(t, "net/config", &cluster.Config{
			InstanceNetworks: []netip.Prefix{netip.PrefixFrom(addresses().Draw(t, "network"), 24)}, Paused: rapid.Bool().Draw(t, "paused"),
		})
		requireReadsBack(t, "net/guard", &Guard{Accept: rapid.Int64().Draw(t, "accept")})
	})
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	service := `{"name":"a","vips":["10.10.0.1"],"ports":[{"port":80}],"instances":[{"address":"192.168.0.1:80"}]%s}`
	for name, c := range map[string][2]string{
		"empty":            {"net/services/a", ""},
		"null":             {"net/services/a", " null "},
		"not JSON":         {"net/services/a", "name: a"},
		"unknown field":    {"net/services/a", fmt.Sprintf(service, `,"colour":"red"`)},
		"unknown deeper":   {"net/services/a", `{"name":"a","ports":[{"port":80,"x":1}]}`},
		"in an instance":   {"net/services/a", `{"name":"a","ports":[{"port":80}],"instances":[{"address":"192.168.0.1:80","x":1}]}`},
		"two values":       {"net/services/a", fmt.Sprintf(service, "") + "{}"},
		"cut off":          {"net/services/a", fmt.Sprintf(service, "")[:40]},
		"another's name":   {"net/services/b", fmt.Sprintf(service, "")},
		"no port":          {"net/services/a", `{"name":"a"}`},
		"port 70000":       {"net/services/a", `{"name":"a","ports":[{"port":70000}]}`},
		"heavy instance":   {"net/services/a", `{"name":"a","ports":[{"port":80}],"instances":[{"address":"192.168.0.1:80","weight":9223372036854775807}]}`},
		"too many ports":   {"net/services/a", `{"name":"a","ports":[` + strings.Repeat(`{"port":1},`, 200) + `{"port":1}]}`},
		"deep":             {"net/config", strings.Repeat(`[`, 100_000)},
		"heavy admin":      {"net/admin/a/x", `{"weight":-1}`},
		"heavy share":      {"net/weights/a", `{"share":{"x":99999999999}}`},
		"odd verdict":      {"net/health/n1", `{"a":{"x":{"verdict":"sleepy"}}}`},
		"list":             {"net/down/n1", `[]`},
		"pool with a host": {"net/config", `{"vip_pools":["10.0.0.1/8"]}`},
		"control":          {"net/config", "{\"\x1b[2J\u202e\":1}"},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := ParseKey(c[0])
			require.NoError(t, err)
			_, err = decodeValue(k, []byte(c[1]))
			require.Error(t, err)
			p := malformed(c[0], err)
			requirePrintable(t, p.Error())
			require.LessOrEqual(t, len(p.What), 2*maxPrinted)
		})
	}
}

func TestDecodeSpellsOutTheProtocol(t *testing.T) {
	t.Parallel()
	k, _ := ParseKey("net/services/a")
	v, err := decodeValue(k, []byte(`{"name":"a","ports":[{"port":80}]}`))
	require.NoError(t, err)
	require.Equal(t, cluster.TCP, v.(*cluster.Service).Ports[0].Protocol)
}

func FuzzDecode(f *testing.F) {
	for key := range examples {
		f.Add(key, []byte(`{"name":"a","vips":["10.0.0.1"],"ports":[{"port":80,"protocol":"udp"}],"instances":[{"address":"1.2.3.4:5"}]}`))
		f.Add(key, []byte(`{"share":{"a":1},"ejected":{"b":{"since":"2026-01-01T00:00:00Z"}}}`))
		f.Add(key, []byte(`{"a":{"x":{"verdict":"dead"}}}`))
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		v := newView()
		v.list(listing{revision: 7, entries: []entry{{key, value, 3, 5}, {"net/services/a", []byte(`{"name":"a","ports":[{"port":80}]}`), 4, 6}}})
		for name, in := range v.snapshot().Services.All() {
			require.Equal(t, name, cluster.Resolve(in).Service.Name)
		}
		for _, p := range v.snapshot().Problems {
			requirePrintable(t, p.Error())
		}
		k, err := ParseKey(key)
		if err != nil {
			return
		}
		first, err := decodeValue(k, value)
		if err != nil || first == true {
			return
		}
		text, err := encode(first)
		require.NoError(t, err)
		second, err := decodeValue(k, text)
		require.NoError(t, err, "%s", text)
		again, err := encode(second)
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
	})
}

func decodeError(t *testing.T, key, value string) string {
	t.Helper()
	k, err := ParseKey(key)
	require.NoError(t, err)
	_, err = decodeValue(k, []byte(value))
	require.Error(t, err)
	return malformed(key, err).Error()
}

func TestDecodeNamesWhatIsWrongWithTheWholeService(t *testing.T) {
	t.Parallel()
	var ports []string
	for i := range cluster.MaxFrontends + 1 {
		ports = append(ports, fmt.Sprintf(`{"name":"p%d","port":%d}`, i, i+1))
	}
	says := decodeError(t, "net/services/a", `{"name":"a","ports":[`+strings.Join(ports, ",")+`]}`)
	require.Contains(t, says, "key net/services/a: the service: 101 frontends")
}

func TestDecodeRefusesAServiceThatIsTooLarge(t *testing.T) {
	t.Parallel()
	value := `{"name":"a","ports":[{"port":80}]}`
	value += strings.Repeat(" ", cluster.MaxFileBytes-len(value))
	k, _ := ParseKey("net/services/a")
	_, err := decodeValue(k, []byte(value))
	require.NoError(t, err)
	require.Contains(t, decodeError(t, "net/services/a", value+" "), "the service is larger than 1 MiB")
}

// A service that was written past publish is served as far as it can be, and its mistake is told.
func TestViewTellsThatAllWeightsAreZero(t *testing.T) {
	t.Parallel()
	v := newView()
	v.list(listing{revision: 7, entries: []entry{{"net/services/a", []byte(
		`{"name":"a","vips":["10.10.0.1"],"ports":[{"port":80}],"instances":[{"address":"192.168.0.1:80","weight":0}]}`), 4, 6}}})
	in, ok := v.snapshot().Services.Get("a")
	require.True(t, ok)
	r := cluster.Resolve(in)
	require.Len(t, r.Problems, 1)
	require.Equal(t, "service a: instances: all weights are 0, so nobody would be served: give at least one instance a weight, or drain them instead", r.Problems[0].Error())
	require.Len(t, r.Frontends, 1)
}

func TestMalformedSpeaksPlainly(t *testing.T) {
	t.Parallel()
	for value, says := range map[string]string{
		`{"name":"a","ports":[{"port":70000}]}`: "key net/services/a: field ports.port: a port in 1..65535 is wanted, not number 70000: ",
		`{"name":5}`:                            "key net/services/a: field name: a text is wanted, not number: ",
		`{"name":"a","vips":"x"}`:               "key net/services/a: field vips: a list is wanted, not string: ",
		`{"name":"a","vips":[7]}`:               "a text is wanted, not number: ",
		`[]`:                                    "key net/services/a: the value: an object is wanted, not array: ",
		`{"name":"a","instances":[{"address":"1.2.3.4:5","weight":"x"}]}`: "weight: a whole number is wanted, not string: ",
		`{"name":"a","colour":1}`: `key net/services/a: unknown field "colour": `,
	} {
		require.Contains(t, decodeError(t, "net/services/a", value), says)
	}
	_, err := ParseKey("net/odd/a")
	require.Contains(t, malformed("net/odd/a", err).Error(), "key net/odd/a: it is unknown: ")
	_, err = ParseKey("net/services/A")
	require.Equal(t, 1, strings.Count(malformed("net/services/A", err).Error(), "key net/services/A"))
}

// TestLargeValues has values of 1.6 MB, more than etcd takes by default, and deep ones, under every kind of key. They harm
// only themselves.
func TestLargeValues(t *testing.T) {
	t.Parallel()
	const size = 1_600_000
	values := []string{
		strings.Repeat("[", size), strings.Repeat(`{"a":`, size/5), `{"labels":{"x":"` + strings.Repeat("x", size) + `"}}`, strings.Repeat(" ", size), `"` + strings.Repeat("x", size) + `"`,
		`{"vip_pools":[` + strings.Repeat(`"::/0",`, size/7) + `"::/0"]}`, `{"share":{` + strings.Repeat(`"a":1,`, size/6) + `"a":1}}`,
		`{"name":"big","instances":[` + strings.Repeat(`{"address":"1.1.1.1:1"},`, size/24) + `{"address":"1.1.1.1:1"}]}`,
	}
	l := listing{revision: 7, entries: []entry{{"net/services/sound", []byte(`{"name":"sound","ports":[{"port":80}]}`), 4, 6}}}
	for i, value := range values {
		l.entries = append(l.entries, entry{fmt.Sprintf("net/services/a%d", i), []byte(value), 3, int64(10 + i)})
	}
	for i, key := range slices.Sorted(maps.Keys(examples)) {
		l.entries = append(l.entries, entry{key, []byte(values[i%len(values)]), 3, 30})
	}
	v := newView()
	v.list(l)
	s := v.snapshot()
	in, ok := s.Services.Get("sound")
	require.True(t, ok)
	require.Equal(t, "sound", cluster.Resolve(in).Service.Name)
	require.Equal(t, 1, s.Services.Len())
	for _, p := range s.Problems {
		require.Less(t, len(p.Error()), 4*maxPrinted, "what is said of a large value is short")
	}
}
