package integration

import (
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
)

// trace starts weir trace on a node and returns once it follows.
func (w *World) trace(node *lab.Host, f cluster.Frontend, args ...string) *command {
	w.t.Helper()
	c := &command{Cmd: exec.Command(w.o.Program, append([]string{"trace", f.String(), "-o", "json", "--rate", "1000"}, args...)...)}
	c.Stdout, c.Stderr = &c.out, &c.talk
	require.NoError(w.t, node.Start(c.Cmd))
	w.t.Cleanup(func() { _ = c.Process.Kill() })
	w.Eventually(10*time.Second, "it follows", func() bool { return strings.Contains(c.talk.String(), "following ") })
	return c
}

// attempts are the lines of a trace that has ended.
func (w *World) attempts(c *command) (out []rules.Attempt) {
	w.t.Helper()
	require.Zero(w.t, c.end(), c.talk.String())
	for line := range strings.Lines(c.out.String()) {
		var a rules.Attempt
		require.NoError(w.t, json.Unmarshal([]byte(line), &a), line)
		out = append(out, a)
	}
	return out
}

// TestTrace shows N connections as N lines, each with the instance that it really met.
func TestTrace(t *testing.T) {
	t.Parallel()
	const connections = 30
	w := world(t, Options{})
	node := w.Nodes[0]
	tables := func() string {
		out, err := node.Output("nft", "list", "tables")
		require.NoError(t, err)
		return string(out)
	}
	none := w.Frontend(cluster.TCP, false)
	w.Publish(Service("none", none))
	before := tables()
	for _, proto := range []cluster.Proto{cluster.TCP, cluster.UDP} {
		for _, v6 := range []bool{false, true} {
			f := w.Frontend(proto, v6)
			port := uint16(80 + len(w.Instances)*int(proto))
			var instances []string
			for _, host := range w.Instances {
				address, _ := w.Serve(host, port, v6)
				instances = append(instances, address)
			}
			w.Publish(Service(proto.String()+map[bool]string{false: "-4", true: "-6"}[v6], f, instances...))
			for _, way := range [][]string{nil, {"--table-owner", "off"}} {
				for _, from := range []*lab.Host{node, w.Client} {
					c := w.trace(node, f, append([]string{"--count", strconv.Itoa(connections)}, way...)...)
					result := w.Flood(from, f, connections)
					attempts := w.attempts(c)
					met := map[string]int{}
					for _, a := range attempts {
						met[a.Target.String()]++
						require.Equal(t, []any{f, rules.Sent, from == node, way == nil}, []any{a.Frontend, a.Outcome, a.Local, len(a.Steps) > 0})
					}
					require.Len(t, attempts, connections)
					require.Equal(t, result.ByID, met, "%s from %s %v", f, from.Name(), way)
					require.Equal(t, before, tables(), "nothing is left")
				}
			}
		}
	}

	c := w.trace(node, none, "--count", "1")
	_, err := w.Client.Dial(t.Context(), "tcp", Address(none).String())
	require.Error(t, err)
	refused := w.attempts(c)
	require.Len(t, refused, 1)
	require.Equal(t, rules.Refused, refused[0].Outcome)
	require.Equal(t, []string{"prerouting", "dispatch", "no-endpoint", "refuse"}, []string{refused[0].Steps[0].Chain, refused[0].Steps[1].Chain, refused[0].Steps[2].Chain, refused[0].Steps[3].Chain})

	c = w.trace(node, none, "--timeout", "300ms")
	require.Empty(t, w.attempts(c))
	require.Regexp(t, "connections to "+none.String()+" in .*: 0\n", c.talk.String())

	c = w.trace(node, none)
	require.NotEqual(t, before, tables())
	require.NoError(t, c.Process.Kill())
	c.end()
	w.Eventually(5*time.Second, "the kernel takes the table away", func() bool { return tables() == before })

	unknown := none
	unknown.Port = 99
	out, err := node.Output(w.o.Program, "trace", unknown.String())
	require.Error(t, err)
	require.Contains(t, string(out), "this node's kernel does not hold "+unknown.String()+": there is "+none.String())
}

// TestTraceWithIptables has no tables of ours to follow: connection tracking tells what it knows.
func TestTraceWithIptables(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Driver: "ipt-nft"})
	f, instances := w.Frontend(cluster.TCP, false), w.ServeAll(2, false)
	w.Publish(Service("a", f, instances...))
	c := w.trace(w.Nodes[0], f, "--count", "10")
	result := w.Flood(w.Client, f, 10)
	met := map[string]int{}
	for _, a := range w.attempts(c) {
		met[a.Target.String()]++
	}
	require.Equal(t, result.ByID, met)
	require.Contains(t, c.talk.String(), "warning: unsupported operation: the rules are those of driver ipt: neither the path nor what is refused can be shown")
}
