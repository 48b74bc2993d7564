package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/demo"
	"github.com/weir-lb/weir/internal/top"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), plain, "demo", "--once", "-o", "json", "--connections", "400")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var report demo.Report
	require.NoError(t, json.Unmarshal(out, &report))
	require.Equal(t, []string{"n1", "n2", "n3"}, report.Nodes)
	var names []string
	for _, s := range report.Steps {
		names = append(names, s.Name)
		require.Equal(t, 1200, s.Connections, s.Name)
		require.Zero(t, s.Failed, s.Name)
		require.Greater(t, s.ChiSquareP, 1e-6, s.Name)
		sum := 0.0
		for _, share := range s.Shares {
			sum += share
		}
		require.InDelta(t, 1, sum, 1e-9, s.Name)
	}
	require.Equal(t, []string{"publish", "add", "drain", "kill-agent", "stop-etcd", "return", "kill-instance"}, names)
	require.Len(t, report.Steps[0].Shares, 3)
	require.InDelta(t, 0.4, report.Steps[1].Shares["192.168.10.103:80"], 0.1, "weight 2 of 5")
	require.Zero(t, report.Steps[2].Shares["192.168.10.101:80"], "drained")
	require.NotZero(t, report.Steps[5].Shares["192.168.10.102:80"])
	require.Zero(t, report.Steps[6].Shares["192.168.10.102:80"], "dead")
	require.Positive(t, report.Outage.Met, "it took connections until it was found dead")
	require.Less(t, report.Outage.OutAfterMS, 10_000.0)
}

// A service that Weir runs itself, from its first instance over a dead node to its last. None of the promises may break but
// those of time, on a machine that others use too.
func TestDemoScale(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), plain, "demo", "--story", "scale", "--quick", "--once", "-o", "json")
	talk := new(bytes.Buffer)
	cmd.Stderr = talk
	out, _ := cmd.Output()
	var report demo.ScaleReport
	require.NoError(t, json.Unmarshal(out, &report), "%s", talk)
	var names []string
	for _, a := range report.Acts {
		t.Logf("%s: %s: %+v", a.Title, a.Note, a.Tally)
		names = append(names, a.Name)
		require.Positive(t, a.Connections, a.Title)
		require.Less(t, a.TookS, 2*a.WithinS, a.Title)
		if a.May == "" {
			require.Zero(t, a.Failed+a.Broken, "%s: %v", a.Title, a.Reasons)
		}
		require.Empty(t, a.Also, a.Title)
	}
	require.Equal(t, []string{"start", "triple", "kill-instance", "kill-node", "return", "drain-node", "fall"}, names)
	require.Len(t, report.Acts[0].ByID, 2, "the one that stands by gets nothing")
	require.Len(t, report.Acts[1].ByID, 6)
	require.Positive(t, report.Acts[2].Broken, "those that the instance had")
	require.Positive(t, report.Acts[3].Failed, "those that went to the dead node")
	if broken := report.Broken(); len(broken) == 0 {
		require.Equal(t, 0, cmd.ProcessState.ExitCode(), "%s", talk)
	} else {
		require.Equal(t, 1, cmd.ProcessState.ExitCode())
		require.Contains(t, talk.String(), broken[0])
	}
}

// What the demo made is gone when somebody interrupts it, in the middle of the show or while it stays up.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{"in the show": "add a fourth instance", "while it stays up": "a shell on n1", "with instances that it launched": "1 stands by"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			temp := t.TempDir()
			args := []string{"--connections", "200"}
			if strings.Contains(name, "launched") {
				args = []string{"--story", "scale"}
			}
			cmd := exec.Command(plain, append([]string{"demo"}, args...)...)
			cmd.Env = append(os.Environ(), "TMPDIR="+temp)
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if strings.Contains(lines.Text(), " top --etcd ") {
					invited(t, strings.Fields(lines.Text()))
				}
				if strings.Contains(lines.Text(), at) {
					break
				}
			}
			made := namespacesOf(t, cmd.Process.Pid)
			require.NotEmpty(t, made)
			require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
			_ = cmd.Wait() // with an error when the show was cut short
			require.Empty(t, namespacesOf(t, cmd.Process.Pid))
			left, err := os.ReadDir(temp)
			require.NoError(t, err)
			require.Empty(t, left)
			require.Empty(t, processesOf(t, temp))
		})
	}
}

// processesOf are those that were told to work below a directory.
func processesOf(t *testing.T, dir string) (lines []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, path := range all {
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), dir) {
			lines = append(lines, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return lines
}

// invited tries what the demo says about weir top: all load monitors answer.
func invited(t *testing.T, line []string) {
	out, err := exec.CommandContext(t.Context(), line[0], append(line[1:], "--once", "-o", "json")...).Output()
	require.NoError(t, err)
	var picture top.Frame
	require.NoError(t, json.Unmarshal(out, &picture))
	require.Empty(t, picture.Notes)
	require.Len(t, picture.Nodes, 3)
	for _, n := range picture.Nodes {
		require.Equal(t, top.MonitorOK, n.Monitor, n.Name)
	}
	require.Equal(t, []any{"degraded", 2}, []any{picture.Services[0].Status, picture.Services[0].Taking}, "one is drained, one dead")
}

// namespacesOf are the named network namespaces that a demo process made.
func namespacesOf(t *testing.T, pid int) (names []string) {
	all, err := filepath.Glob("/run/netns/weir-demo-*")
	require.NoError(t, err)
	for _, path := range all {
		if m := regexp.MustCompile(`^weir-demo-(\d+)-`).FindStringSubmatch(filepath.Base(path)); m != nil && m[1] == strconv.Itoa(pid) {
			names = append(names, path)
		}
	}
	return names
}
