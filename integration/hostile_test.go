package integration

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/etcd/embedded"
	"github.com/weir-lb/weir/internal/hostile"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/ipt"
	"github.com/weir-lb/weir/rules/nft"
)

// places are service files with a place for a foreign word; %s is the word as JSON.
var places = []string{
	`{"name":%s,"vips":["VIP"],"ports":[{"port":80}],"instances":[{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":[%s,"VIP"],"ports":[{"port":80}],"instances":[{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"name":%s,"port":80}],"instances":[{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80,"protocol":%s}],"instances":[{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":%s}],"instances":[{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80}],"balance":%s,"instances":[{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80}],"affinity":%s,"instances":[{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80}],"locality":%s,"instances":[{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80}],"sources":[%s],"instances":[{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80}],"instances":[{"address":%s},{"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80}],"instances":[{"id":%s,"address":"192.0.2.1:80"}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80}],"instances":[{"address":"192.0.2.1:80","labels":{"x":%s}}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80}],"instances":[{"address":"192.0.2.1:80","labels":{%s:"x"}}]}`,
	`{"name":"NAME","vips":["VIP"],"ports":[{"port":80}],%s:1,"instances":[{"address":"192.0.2.1:80"}]}`,
}

// TestInjection writes a thousand hostile words into every field of a service, and into keys, straight into etcd. Nothing
// of them reaches the kernel, other programs' tables stay as they are, and every sound service is served.
func TestInjection(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", NoSync: true})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	store, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{server.Endpoint()}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	written := inject(t, store)

	snapshot, err := store.Snapshot(t.Context())
	require.NoError(t, err)
	for _, p := range snapshot.Problems {
		requirePrintable(t, p.Error())
	}
	_, sound := snapshot.Services.Get("sound")
	require.True(t, sound)
	t.Logf("%d values, %d services, %d that cannot be read", written, snapshot.Services.Len(), len(snapshot.Problems))

	want := rules.Build(nil, snapshot, rules.Options{Node: "n"})
	for _, p := range want.Problems {
		requirePrintable(t, p.Error())
	}
	plain := rules.Build(nil, snapshot, rules.Options{Node: "n", NoTables: true})
	for name, test := range map[string]struct {
		want *rules.Ruleset
		open func(ns int) (rules.Driver, error)
		list string
	}{
		"nft": {want, func(ns int) (rules.Driver, error) {
			return nft.New(nft.Options{NetNS: ns, Ownership: nft.OwnOff})
		}, "nft list ruleset"},
		"iptables": {plain, func(ns int) (rules.Driver, error) { return ipt.New(ipt.Options{NetNS: ns, Variant: ipt.NFT}), nil }, "iptables-nft-save; ip6tables-nft-save"},
	} {
		t.Run(name, func(t *testing.T) { requireHarmless(t, test.want, test.open, test.list) })
	}
	for _, dir := range []string{"/tmp", ".", os.TempDir()} {
		require.NoFileExists(t, filepath.Join(dir, hostile.Mark))
	}
}

func requireHarmless(t *testing.T, want *rules.Ruleset, open func(int) (rules.Driver, error), list string) {
	ns, err := lab.Test(t).Namespace("n")
	require.NoError(t, err)
	out, err := ns.Output("nft", "table ip stranger { set s { type ipv4_addr; elements = { 192.0.2.66 }; }; chain c { type filter hook input priority 0; ip saddr @s counter drop; }; }")
	require.NoError(t, err, "%s", out)
	before, err := ns.Output("nft", "list", "table", "ip", "stranger")
	require.NoError(t, err)
	d, err := open(int(ns.Netns()))
	require.NoError(t, err)
	if c, ok := d.(interface{ Close() error }); ok {
		t.Cleanup(func() { _ = c.Close() })
	}
	have, err := d.Read(t.Context())
	require.NoError(t, err)
	problems, err := rules.Carry(t.Context(), d, have, rules.Diff(have, want))
	require.NoError(t, err)
	require.Empty(t, problems, "the kernel refuses nothing")
	have, err = d.Read(t.Context())
	require.NoError(t, err)
	require.Empty(t, rules.Diff(have, want).String())
	served := cluster.Frontend{VIP: netip.MustParseAddr("10.10.0.1"), Proto: cluster.TCP, Port: 80}
	require.Len(t, have.Placed[served].Slots, 1, "the sound service")

	text, err := ns.Output("sh", "-c", list+"; ip link")
	require.NoError(t, err)
	require.NotContains(t, string(text), hostile.Mark)
	requirePrintable(t, string(text))
	after, err := ns.Output("nft", "list", "table", "ip", "stranger")
	require.NoError(t, err)
	require.Equal(t, string(before), string(after))
	tables, err := ns.Output("nft", "list", "tables")
	require.NoError(t, err)
	for line := range strings.Lines(string(tables)) {
		name := strings.Fields(line)[2]
		require.Contains(t, []string{"weir", "stranger", "nat", "filter", "mangle", "raw"}, name)
	}
}

// inject writes the words, many in one transaction.
func inject(t *testing.T, store *etcd.Store) (written int) {
	c, err := store.Client()
	require.NoError(t, err)
	var ops []clientv3.Op
	size := 0
	flush := func() {
		if len(ops) == 0 {
			return
		}
		_, err := c.Txn(t.Context()).Then(ops...).Commit()
		require.NoError(t, err)
		written += len(ops)
		ops, size = nil, 0
	}
	put := func(key, value string) {
		if len(ops) == 100 || size+len(value) > 500_000 {
			flush()
		}
		ops, size = append(ops, clientv3.OpPut(store.Prefix()+key, value)), size+len(value)+len(key)
	}
	put("net/ready", "{}")
	put("net/services/sound", `{"name":"sound","vips":["10.10.0.1"],"ports":[{"port":80}],"instances":[{"address":"192.0.2.1:80"}]}`)
	for i, word := range hostile.Words() {
		quoted, err := json.Marshal(word)
		require.NoError(t, err)
		for j, place := range places {
			name := fmt.Sprintf("s%d-%d", i, j)
			vip := netip.AddrFrom4([4]byte{10, byte(20 + j), byte(i >> 8), byte(i)})
			put("net/services/"+name, fmt.Sprintf(strings.NewReplacer("NAME", name, "VIP", vip.String()).Replace(place), quoted))
		}
		flush() // the keys below may be the same for two words
		for _, kind := range []string{"net/services/", "net/nodes/", "net/instances/n/s0-11/", "net/admin/s0-11/", "net/"} {
			if len(word) < 1000 {
				put(kind+word, `{"name":`+string(quoted)+`}`)
			}
		}
		flush()
		put("net/admin/s"+fmt.Sprint(i)+"-11/192.0.2.1:80", `{"weight":1,"reason":`+string(quoted)+`}`)
		put("net/nodes/n"+fmt.Sprint(i), `{"version":`+string(quoted)+`,"labels":{"zone":`+string(quoted)+`}}`)
	}
	flush()
	return written
}

// requirePrintable wants nothing that a terminal obeys.
func requirePrintable(t *testing.T, text string) {
	t.Helper()
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			require.Fail(t, "not printable", "%q", text)
		}
	}
}
