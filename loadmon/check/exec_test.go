package check

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

func shell(t *testing.T, timeout cluster.Duration, script string) Outcome {
	t.Helper()
	return probed(t, mineAt, cluster.Check{Exec: &cluster.ExecCheck{Command: []string{"/bin/sh", "-c", script}}, Timeout: timeout})
}

func TestProbeExec(t *testing.T) {
	t.Setenv("SECRET", "x")
	require.Equal(t, Outcome{Kind: Good, Output: "fine"}, shell(t, patient, "echo fine"))
	require.Equal(t, Outcome{Kind: Bad, Reason: "exit status 3", Output: "no disk"}, shell(t, patient, "echo no disk >&2; exit 3"))
	require.Equal(t, Outcome{Kind: Bad, Reason: "signal: killed"}, shell(t, patient, "kill -9 $$"))
	require.Equal(t, "LANG=C.UTF-8 PWD=/ WEIR_ADDRESS=192.168.70.1:80 WEIR_INSTANCE=i1 WEIR_SERVICE=a", shell(t, patient, "env | grep -v -e ^PATH= -e ^_= -e ^SHLVL= | sort").Output, "nothing of our own environment")
	require.Equal(t, "0", shell(t, patient, "cat | wc -c").Output, "no input")
	var o Outcome
	for timeout := time.Second; len(o.Output) < cluster.MaxOutput && timeout < time.Minute; timeout *= 2 { // it floods, once it has begun
		o = shell(t, cluster.Duration(timeout), "yes")
		require.Equal(t, Outcome{Kind: Bad, Reason: fmt.Sprintf("no answer within %s", timeout), Output: o.Output}, o)
	}
	require.Len(t, o.Output, cluster.MaxOutput)
	missing := probed(t, mineAt, cluster.Check{Exec: &cluster.ExecCheck{Command: []string{"/no/such/program"}}})
	require.Equal(t, Unknown, missing.Kind)
	require.Contains(t, missing.Reason, "cannot be started")
}

// Nothing of the group is left: neither at the timeout, nor when the leader ended and left children behind.
func TestProbeExecKillsTheGroup(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{"timeout": "wait", "well": "exit 0", "bad": "exit 1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pids")
			script := fmt.Sprintf("(trap '' TERM HUP; sleep 600) & echo $! > %s; sleep 600 & echo $! >> %s; %s", file, file, end)
			timeout := patient
			if name == "timeout" {
				timeout = soon
			}
			var pids []string
			for ; len(pids) < 2; timeout *= 2 { // on a busy machine the timeout may come before the script has got so far
				o := shell(t, timeout, script)
				require.Equal(t, map[string]Kind{"timeout": Bad, "well": Good, "bad": Bad}[name], o.Kind, o.Reason)
				text, err := os.ReadFile(file)
				require.True(t, err == nil || errors.Is(err, fs.ErrNotExist), err)
				pids = strings.Fields(string(text))
			}
			for _, text := range pids {
				pid, err := strconv.Atoi(text)
				require.NoError(t, err)
				require.Eventually(t, func() bool { return dead(pid) }, 10*time.Second, 10*time.Millisecond, "process %d", pid)
			}
		})
	}
}

// dead says whether a process is gone, or waits to be reaped by whoever took it over.
func dead(pid int) bool {
	if unix.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// Where the operator does not allow it, it is never run, and a Problem says so.
func TestExecIsOffByDefault(t *testing.T) {
	t.Parallel()
	_, a := server(t, host+":0")
	trace := filepath.Join(t.TempDir(), "ran")
	check := &cluster.Check{Exec: &cluster.ExecCheck{Command: []string{"/bin/sh", "-c", "touch " + trace}}, Interval: cluster.MinInterval, Timeout: patient}
	_, other := server(t, host+":0")
	s := world(service("a", check, a), service("b", tcp(), other)).Snapshot(1)
	c := running(t, Options{}, s)
	checked(t, c, ID{"b", other.String()}, 5)
	require.NoFileExists(t, trace)
	require.Empty(t, c.Health())
	require.Equal(t, []cluster.Problem{{
		Object: "service a", Field: "check.exec", What: "node n1 runs no programs for checks, so the service's instances there are only watched by the kernel's signs",
		Fix: "start the node's agent, or weir loadmon where that runs beside it, with --allow-exec-checks, or use another kind of check",
	}}, c.Problems())

	allowed := running(t, Options{AllowExec: true}, s)
	require.Eventually(t, func() bool { _, err := os.Stat(trace); return err == nil }, 20*time.Second, 10*time.Millisecond)
	require.Empty(t, allowed.Problems())
}

// Another kind of check that is not made has other reasons.
func TestOnlyExecIsNotAllowed(t *testing.T) {
	t.Parallel()
	s := service("a", tcp())
	s.Ports = []cluster.Port{{Name: "web", Port: 80, Protocol: cluster.TCP}, {Name: "other", Port: 81, Protocol: cluster.TCP}}
	s.Check.Port = "other"
	s.Instances = []cluster.Instance{{ID: "x", Addr: netip.MustParseAddr(host), Ports: map[string]uint16{"web": 80}, Weight: 1}}
	c := New(Options{Node: "n1"})
	c.Want(world(s).Snapshot(1))
	require.Contains(t, c.Results(), ID{"a", "x"})
	require.Empty(t, c.Problems())
}

// A program that cannot be started says nothing of the instance, and the operator is told.
func TestExecThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	_, a := server(t, host+":0")
	check := &cluster.Check{Exec: &cluster.ExecCheck{Command: []string{"/no/such/program"}}, Interval: cluster.MinInterval, Timeout: cluster.MinInterval}
	c := running(t, Options{AllowExec: true}, world(service("a", check, a)).Snapshot(1))
	require.Eventually(t, func() bool { return len(c.Problems()) == 1 }, 20*time.Second, 10*time.Millisecond)
	require.Contains(t, c.Problems()[0].Error(), "node n1 cannot check it, so its last verdict stays: the program cannot be started")
	require.Empty(t, c.Health())
}

// Programs are processes: only so many run at a time, and all get their turn.
func TestProgramsAreBounded(t *testing.T) {
	t.Parallel()
	check := &cluster.Check{Exec: &cluster.ExecCheck{Command: []string{"/bin/sleep", "0.2"}}, Interval: cluster.Duration(time.Second)}
	var addresses []netip.AddrPort
	for i := range uint16(3 * maxExec) {
		addresses = append(addresses, netip.AddrPortFrom(mineAt.Addr(), 100+i))
	}
	c := running(t, Options{AllowExec: true}, world(service("a", check, addresses...)).Snapshot(1))
	most := 0
	require.Eventually(t, func() bool {
		c.mu.Lock()
		most = max(most, c.programs)
		c.mu.Unlock()
		for _, r := range c.Results() {
			if r.Checks == 0 {
				return false
			}
		}
		return true
	}, 30*time.Second, time.Millisecond)
	require.LessOrEqual(t, most, maxExec)
	require.Greater(t, most, 1)
	for _, r := range c.Results() {
		require.Zero(t, r.Connections, "a program is no connection")
	}
}
