package chaos

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
)

var inputCases = map[string]func(*run){
	"E1":  malformedValues,
	"E2":  badNames,
	"E3":  injections,
	"E4":  racingClaims,
	"E5":  circles,
	"E6":  forbiddenAddresses,
	"E7":  foreignVIPs,
	"E9":  thousandInstances,
	"E10": oddPorts,
	"E12": controlCharacters,
	"E13": newerObjects,
	"E14": hugeValues,
}

// bystander is a world in which one good service must not notice anything.
type bystander struct {
	*integration.World
	r         *run
	f         cluster.Frontend
	instances []string
	before    want
}

func (r *run) bystander(o integration.Options) *bystander {
	r.Helper()
	o.Nodes = max(o.Nodes, 1)
	w := r.world(o)
	b := &bystander{World: w, r: r, f: w.Frontend(cluster.TCP, false), instances: w.ServeAll(3, false)}
	b.Publish(integration.Service("good", b.f, b.instances...))
	b.before = w.Slots(w.Nodes[0])
	return b
}

// unmoved publishes something good after all that was bad, and returns how many frontends were changed or served that
// nobody should be served.
func (b *bystander) unmoved() int {
	b.r.Helper()
	f := b.Frontend(cluster.TCP, false)
	began := time.Now()
	b.Agents[0].AwaitRevision(b.PutAll([]*cluster.Service{integration.Service("after", f, b.instances[0])}), 60*time.Second)
	b.r.repaired(time.Since(began))
	b.before.set(f, b.instances[0])
	b.Only(b.Nodes[0], b.f, b.instances...)
	b.Only(b.Client, b.f, b.instances...)
	return differences(b.before, b.Slots(b.Nodes[0]))
}

// putAll writes keys as they stand, many in a transaction.
func (b *bystander) putAll(pairs [][2]string) {
	b.r.Helper()
	client, err := b.Store.Client()
	require.NoError(b.r, err)
	for len(pairs) > 0 {
		n := min(len(pairs), 128)
		var ops []clientv3.Op
		for _, p := range pairs[:n] {
			ops = append(ops, clientv3.OpPut(b.Store.Prefix()+p[0], p[1]))
		}
		_, err := client.Txn(b.r.Context()).Then(ops...).Commit()
		require.NoError(b.r, err)
		pairs = pairs[n:]
	}
}

// file publishes what stands in a file, as an operator does. It must be refused, without a crash.
func (b *bystander) file(text string) (said string) {
	b.r.Helper()
	name := filepath.Join(b.Dir, "service.yaml")
	require.NoError(b.r, os.WriteFile(name, []byte(text), 0o600))
	said, code := b.r.weir(b.World, "controlcenter", "publish", "-f", name)
	if code == 0 {
		b.r.most("accepted", b.r.line.Figures["accepted"]+1)
		b.r.Errorf("accepted: %.200q: %s", text, said)
	}
	require.NotContains(b.r, said, "goroutine ")
	return said
}

// value is a service as JSON, with parts of it exchanged.
func (b *bystander) value(name string, change map[string]any) string {
	b.r.Helper()
	s := map[string]any{
		"name": name, "vips": []string{b.Frontend(cluster.TCP, false).VIP.String()}, "ports": []map[string]any{{"port": 8080, "protocol": "tcp"}},
		"instances": []map[string]any{{"address": b.instances[0]}},
	}
	for k, v := range change {
		s[k] = v
	}
	text, err := json.Marshal(s)
	require.NoError(b.r, err)
	return string(text)
}

// peakMB is the most memory that a process ever had.
func (r *run) peakMB(pid int) float64 {
	r.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(r, err)
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	kb, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	require.NoError(r, err)
	return kb / 1024
}
