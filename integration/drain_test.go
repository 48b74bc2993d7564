package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// endsWell requires that a connection lived until now without a stall.
func (w *World) endsWell(s *lab.Stream) {
	w.t.Helper()
	r := s.Stop()
	require.False(w.t, r.Broken, r.Reason)
	require.Equal(w.t, r.Sent, r.Answered)
	require.Less(w.t, r.LongestQuiet, time.Second)
}

// run starts a command line against the World's etcd.
func (w *World) run(args ...string) *command {
	w.t.Helper()
	c := &command{Cmd: exec.Command(w.o.Program, append(args, "--etcd", w.Endpoint())...)}
	c.Stdout, c.Stderr = &c.out, &c.talk
	require.NoError(w.t, c.Start())
	w.t.Cleanup(func() { _ = c.Process.Kill() })
	return c
}

type command struct {
	*exec.Cmd
	out  bytes.Buffer
	talk output
}

// end waits for the command, at most two minutes, and returns its exit code.
func (c *command) end() int {
	enough := time.AfterFunc(2*time.Minute, func() { _ = c.Process.Kill() })
	defer enough.Stop()
	_ = c.Wait()
	return c.ProcessState.ExitCode()
}

// TestDrainWait drains an instance under live connections of two nodes: they go on, and the command counts them down.
func TestDrainWait(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		t.Run(fmt.Sprintf("v6-%t", v6), func(t *testing.T) {
			t.Parallel()
			w := world(t, Options{Nodes: 2})
			f, instances := w.Frontend(cluster.TCP, v6), w.ServeAll(2, v6)
			w.Publish(Service("a", f, instances...))
			first, second := instances[0], instances[1]
			local, routed, far := w.streamTo(w.Nodes[0], f, first), w.streamTo(w.Client, f, first), w.streamTo(w.Nodes[1], f, first)
			other := w.streamTo(w.Nodes[0], f, second)

			c := w.run("controlcenter", "drain", "a", first, "--wait", "--timeout", "8s")
			require.Equal(t, 8, c.end(), c.talk.String())
			require.Contains(t, c.talk.String(), "3 live connections on n1 (2), n2 (1)\nerror: live connections remain: a/"+first+" is drained")
			w.Only(w.Nodes[0], f, second)
			w.Only(w.Client, f, second)

			c = w.run("controlcenter", "drain", "a", first, "--wait", "--timeout", "60s", "-o", "json")
			w.Eventually(10*time.Second, "it counts", func() bool { return strings.Contains(c.talk.String(), "3 live connections on n1 (2), n2 (1)\n") })
			for _, step := range []struct {
				ends *lab.Stream
				left string
			}{{local, "2 live connections on n1 (1), n2 (1)\n"}, {far, "1 live connection on n1 (1)\n"}} {
				w.endsWell(step.ends)
				w.Eventually(5*time.Second, step.left, func() bool { return strings.Contains(c.talk.String(), step.left) })
			}
			w.endsWell(routed)
			ended := time.Now()
			require.Zero(t, c.end(), c.talk.String())
			t.Logf("%s", c.talk.String())
			t.Logf("the command returned %s after the last connection had ended", time.Since(ended).Round(time.Millisecond))
			require.Less(t, time.Since(ended), 5*time.Second)
			require.Contains(t, c.talk.String(), "0 live connections\na/"+first+" is drained and has no live connection, after ")
			var out struct {
				Instance  string
				Remaining struct{ Connections int }
			}
			require.NoError(t, json.Unmarshal(c.out.Bytes(), &out))
			require.Equal(t, first, out.Instance)
			w.endsWell(other)

			// Idle again: nothing is walked for an instance that nobody uses.
			w.Eventually(10*time.Second, "nothing is left", func() bool { return w.Agents[0].Metric("weir_agent_flows_draining") == 0 })
		})
	}
}

// TestKillFlows lets an instance vanish without a word, with live connections, and then be found dead.
func TestKillFlows(t *testing.T) {
	t.Parallel()
	for _, v6 := range []bool{false, true} {
		alone := v6 // without another instance the service refuses, else that one answers what it does not know
		t.Run(fmt.Sprintf("v6-%t alone-%t", v6, alone), func(t *testing.T) {
			t.Parallel()
			w := world(t, Options{AgentArgs: []string{"--kill-flows"}})
			f, instances := w.Frontend(cluster.TCP, v6), w.ServeAll(3, v6)
			dying, well, draining := instances[0], instances[1], instances[2]
			w.Publish(Service("a", f, instances...))
			idle, err := w.Nodes[0].Dial(t.Context(), "tcp", Address(f).String())
			require.NoError(t, err)
			t.Cleanup(func() { idle.Close() })
			lost := []*lab.Stream{w.streamTo(w.Nodes[0], f, dying), w.streamTo(w.Client, f, dying)}
			others := []*lab.Stream{w.streamTo(w.Nodes[0], f, well), w.streamTo(w.Client, f, well), w.streamTo(w.Nodes[0], f, draining), w.streamTo(w.Client, f, draining)}
			w.Drain("a", draining, true)
			if alone {
				w.Publish(Service("a", f, dying, draining))
			}
			out, err := w.Instances[0].Output("ip", "link", "set", "eth0", "down")
			require.NoError(t, err, "%s", out)
			for _, s := range lost {
				w.Eventually(5*time.Second, "the connection stands still", func() bool { return s.Snapshot().LongestStall > 300*time.Millisecond })
				require.False(t, s.Snapshot().Broken, "without a word they hang")
			}
			w.Put("net/health/n1", `{"a":{"`+dying+`":{"verdict":"dead"}}}`)
			for i, s := range lost {
				took := w.Eventually(5*time.Second, "the client notices", func() bool { return s.Snapshot().Broken })
				t.Logf("%s noticed %s after the verdict was written: %s", []string{"node-local", "routed"}[i], took.Round(time.Millisecond), s.Snapshot().Reason)
			}
			for _, s := range others {
				w.endsWell(s)
			}
			ended := 0.0
			w.Eventually(promised, "both are counted", func() bool {
				ended = w.Agents[0].Metric("weir_agent_flows_ended_total")
				return ended >= 2
			})
			require.LessOrEqual(t, ended, 3.0, "and perhaps the idle one")
		})
	}
}

// TestSpareFlows is the same without the flag: nobody ends what may come back.
func TestSpareFlows(t *testing.T) {
	t.Parallel()
	w := world(t, Options{})
	f, instances := w.Frontend(cluster.TCP, false), w.ServeAll(2, false)
	w.Publish(Service("a", f, instances...))
	s := w.streamTo(w.Client, f, instances[0])
	w.Put("net/health/n1", `{"a":{"`+instances[0]+`":{"verdict":"dead"}}}`)
	w.Eventually(5*time.Second, "the verdict counts", func() bool { return w.Slots(w.Nodes[0])[f][netip.MustParseAddrPort(instances[0])] == 0 })
	answered := s.Snapshot().Answered
	w.Eventually(10*time.Second, "the connection goes on", func() bool { return s.Snapshot().Answered > answered+200 })
	w.endsWell(s)
}

// TestRetryMoves has clients that begin to connect to an instance which is gone: their next try goes elsewhere.
func TestRetryMoves(t *testing.T) {
	t.Parallel()
	w := world(t, Options{})
	f, instances := w.Frontend(cluster.TCP, false), w.ServeAll(2, false)
	w.Publish(Service("a", f, instances[0]))
	w.NFT(w.Instances[0], "table inet silent { chain c { type filter hook input priority 0; policy drop; }; }") // a link that is down would be told
	connected := make(chan time.Duration, 2)
	for _, from := range []*lab.Host{w.Nodes[0], w.Client} {
		go func() {
			start := time.Now()
			if conn, err := from.Dial(t.Context(), "tcp", Address(f).String()); err == nil {
				conn.Close()
				connected <- time.Since(start)
			}
		}()
	}
	gone := netip.MustParseAddrPort(instances[0]).Addr()
	w.Eventually(5*time.Second, "both are on their way", func() bool { return w.Flows(w.Nodes[0], f, gone) == 2 })
	w.Publish(Service("a", f, instances[1]))
	for range 2 {
		select {
		case took := <-connected:
			t.Logf("connected after %s", took.Round(time.Millisecond))
		case <-time.After(10 * time.Second):
			require.Fail(t, "a client still waits for an instance that is gone")
		}
	}
}
