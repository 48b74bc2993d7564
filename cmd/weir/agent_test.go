package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/rules/rulestest"
)

func TestOnceWithoutEtcd(t *testing.T) {
	t.Parallel()
	for _, dryRun := range []bool{false, true} {
		store, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{"http://127.0.0.1:1"}})
		require.NoError(t, err)
		defer store.Close()
		a, err := agent.New(agent.Config{Node: "n1", Driver: rulestest.NewFake(1), Source: &source{store: store}, Report: store})
		require.NoError(t, err)
		app := newApp(nil, &bytes.Buffer{}, &bytes.Buffer{})
		app.etcd.timeout = 300 * time.Millisecond
		err = runOnce(t.Context(), app, &agentOptions{dryRun: dryRun}, a)
		require.Equal(t, 5, exitCode(err), "%v", err)
		require.ErrorContains(t, err, "see that etcd runs and that --etcd names it")
	}
}

func TestListen(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	for _, command := range []string{"agent", "up"} {
		for address, want := range map[string]struct {
			code int
			says string
		}{
			"0.0.0.0:9000": {3, "--listen-remote"},
			":9000":        {3, "--listen-remote"},
			"nowhere":      {2, "--listen: "},
		} {
			r := weir(t, newFake(), command, "--listen", address, "--state-dir", state)
			require.Equal(t, want.code, r.code, r.err)
			require.Contains(t, r.err, want.says)
			require.NoDirExists(t, state, "nothing was opened")
		}
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, err = (&pageFlags{listen: taken.Addr().String()}).open(nil)
	require.ErrorContains(t, err, "choose another address with --listen")
}

func TestSecondAgent(t *testing.T) {
	t.Parallel()
	if first, err := lockNode(); err == nil { // else an agent of this machine is the first
		defer first.Close()
	}
	_, err := lockNode()
	require.EqualError(t, err, "another weir agent runs in this network namespace: stop it first")
	require.Equal(t, 4, exitCode(err))
	require.Equal(t, 1, exitCode(lockError(syscall.EMFILE)), "that is not another agent")
}

// atOnce has a program with the race detector end when it ends, and not a second later.
const atOnce = "GORACE=atexit_sleep_ms=0"

// TestMain is weir itself for a test that needs it as another user, or as a shim.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == shimName {
		os.Exit(run(os.Args, strings.NewReader(""), os.Stdout, os.Stderr))
	}
	if line, as := os.LookupEnv("WEIR_TEST_COMMAND"); as {
		os.Exit(run(append([]string{"weir"}, strings.Fields(line)...), strings.NewReader(""), os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestWithoutPermission(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	dir, err := os.MkdirTemp("/tmp", "weir") // not t.TempDir: that is root's alone
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o777))
	program := filepath.Join(dir, "weir")
	self, err := os.Executable()
	require.NoError(t, err)
	// Not written here: a child that another test is starting meanwhile would have the file open, too, and nobody could run it.
	out, err := exec.Command("cp", self, program).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.Chmod(program, 0o755))
	state := filepath.Join(dir, "state")
	for line, want := range map[string]string{
		"demo": "run as root or with sudo",
		"up --etcd-listen 127.0.0.1:0 --state-dir " + state: "run as root or give the process CAP_NET_ADMIN",
	} {
		cmd := exec.Command(program)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), atOnce, "WEIR_TEST_COMMAND="+line)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		var out, talk bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &talk
		require.Error(t, cmd.Run())
		require.Equal(t, 1, cmd.ProcessState.ExitCode())
		require.Empty(t, out.String(), line)
		require.Contains(t, talk.String(), want)
		require.NoDirExists(t, state)
	}
}
