package etcd

import (
	"net/netip"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

var examples = map[string]Key{
	"net/services/a":                  {Kind: KindService, Service: "a"},
	"net/instances/n1/a/10.0.0.1:80":  {Kind: KindInstance, Node: "n1", Service: "a", ID: "10.0.0.1:80"},
	"net/instances/n1/a/[fd00::1]:80": {Kind: KindInstance, Node: "n1", Service: "a", ID: "[fd00::1]:80"},
	"net/admin/a/i-1":                 {Kind: KindAdmin, Service: "a", ID: "i-1"},
	"net/admin-node/n1":               {Kind: KindNodeAdmin, Node: "n1"},
	"net/weights/a.b":                 {Kind: KindWeights, Service: "a.b"},
	"net/called/a":                    {Kind: KindCalled, Service: "a"},
	"net/health/n1":                   {Kind: KindHealth, Node: "n1"},
	"net/down/n1":                     {Kind: KindDown, Node: "n1"},
	"net/nodes/n1":                    {Kind: KindNode, Node: "n1"},
	"net/config":                      {Kind: KindConfig},
	"net/ready":                       {Kind: KindReady},
	"net/barrier":                     {Kind: KindBarrier},
	"net/guard":                       {Kind: KindGuard},
	"ops/vips/10.10.1.128/tcp/8080":   {Kind: KindVIP, VIP: netip.MustParseAddr("10.10.1.128"), Proto: cluster.TCP, Port: 8080},
	"ops/vips/fd00::1/udp/53":         {Kind: KindVIP, VIP: netip.MustParseAddr("fd00::1"), Proto: cluster.UDP, Port: 53},
	"ops/alive/n1":                    {Kind: KindAlive, Node: "n1"},
	"ops/applied/n1":                  {Kind: KindApplied, Node: "n1"},
	"ops/repairs/n1":                  {Kind: KindRepairs, Node: "n1"},
	"ops/gone/n1":                     {Kind: KindGone, Node: "n1"},
	"ops/assign/n1/i-1":               {Kind: KindAssign, Node: "n1", ID: "i-1"},
	"ops/status/n1/i-1":               {Kind: KindStatus, Node: "n1", ID: "i-1"},
	"ops/ports/n1/8080":               {Kind: KindPort, Node: "n1", Port: 8080},
	"ops/launchers/n1":                {Kind: KindLauncher, Node: "n1"},
	"ops/loadmons/n1":                 {Kind: KindLoadmon, Node: "n1"},
	"ops/scale/a":                     {Kind: KindScale, Service: "a"},
	"ops/events/a/77":                 {Kind: KindEvent, Service: "a", Revision: 77},
	"ops/wake/a":                      {Kind: KindWake, Service: "a"},
	"ops/moved/a":                     {Kind: KindMoved, Service: "a"},
	"ops/crashes/a":                   {Kind: KindCrashes, Service: "a"},
	"ops/digest":                      {Kind: KindDigest},
	"ops/secret":                      {Kind: KindSecret},
	"ops/leader/694d9a1c":             {Kind: KindLeader, ID: "694d9a1c"},
}

func TestKeys(t *testing.T) {
	t.Parallel()
	seen := map[Kind]bool{}
	for text, want := range examples {
		got, err := ParseKey(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, text, want.String())
		require.NoError(t, want.Valid())
		seen[want.Kind] = true
	}
	require.Len(t, seen, int(kinds), "each kind has an example")
}

func TestKeysThatAreNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "/", "net", "net/", "net//", "net/services", "net/services/", "net/services/A", "net/services/a/b", "net/services/..",
		"net/config/x", "net/admin/a", "net/admin/a/", "net/admin/a/x/y", "ops/vips/10.0.0.1/tcp", "ops/vips/10.0.0.1/tcp/080",
		"ops/vips/10.0.0.1//80", "ops/vips/FD00::1/tcp/80", "ops/vips/10.0.0.1/tcp/65536", "ops/vips/10.0.0.1/icmp/80",
		"ops/events/a/-0", "net/services/a\x00", "net/services/\x1b[31m", "net/nodes/é", "SERVICE", "net/unheard/of",
	} {
		_, err := ParseKey(text)
		require.Error(t, err, "%q", text)
		requirePrintable(t, err.Error())
	}
	for _, k := range []Key{
		{Kind: KindService, Service: "a/b"}, {Kind: KindAdmin, Service: "a", ID: "../../config"}, {Kind: KindNode},
		{Kind: KindInstance, Node: "n/a", Service: "b", ID: "c"}, {Kind: KindService, Service: "a", Node: "n"},
	} {
		require.Error(t, k.Valid(), "%v", k)
	}
}

func requirePrintable(t require.TestingT, s string) {
	for _, r := range s {
		require.True(t, unicode.IsGraphic(r) && r != '\u202e', "%q", s)
	}
}

func FuzzParseKey(f *testing.F) {
	for text := range examples {
		f.Add(text)
	}
	f.Add("net/services/a\x00/\xff")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			requirePrintable(t, err.Error())
			return
		}
		require.Equal(t, text, k.String())
		require.NoError(t, k.Valid())
	})
}

func names() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?`)
}

func ids() *rapid.Generator[string] {
	return rapid.StringMatching(`[A-Za-z0-9]([-A-Za-z0-9.:_]{0,20}[A-Za-z0-9])?`)
}

func TestKeysReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		service, node, id := names().Draw(t, "service"), names().Draw(t, "node"), ids().Draw(t, "id")
		port := rapid.Uint16().Draw(t, "port")
		for _, k := range []Key{
			{Kind: KindService, Service: service}, {Kind: KindInstance, Node: node, Service: service, ID: id},
			{Kind: KindAssign, Node: node, ID: id}, {Kind: KindPort, Node: node, Port: port},
			{Kind: KindVIP, VIP: addresses().Draw(t, "vip"), Proto: cluster.SCTP, Port: port},
		} {
			got, err := ParseKey(k.String())
			require.NoError(t, err)
			require.Equal(t, k, got)
		}
	})
}
