package process_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process"
	"github.com/weir-lb/weir/launcher/process/shim"
)

// many are as many instances, in processes that can be told from all others by a word in their environment.
func many(n int, word string) (out []launcher.Spec) {
	for i := range n {
		out = append(out, launcher.Spec{
			ID: fmt.Sprintf("i%02d", i), Service: "s", Command: []string{"/bin/sleep", "300"}, Env: map[string]string{"FAMILY": word},
		})
	}
	return out
}

// grown waits until as many processes have a word in their environment: one that is started has none for the moment in which it
// begins to run its program.
func grown(t testing.TB, word string, count int) []string {
	t.Helper()
	var all []string
	require.Eventually(t, func() bool { all = family(t, word); return len(all) == count }, time.Minute, time.Millisecond, "%d of them", count)
	return all
}

// family are the processes with a word in their environment.
func family(t testing.TB, word string) (out []string) {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, file := range all {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "FAMILY="+word) {
			out = append(out, strings.Split(file, "/")[2])
		}
	}
	return out
}

// launch is a launcher in a process of its own: it ensures instances and then waits to be killed.
func launch(config, specs string) {
	var c process.Config
	var list []launcher.Spec
	must(json.Unmarshal([]byte(config), &c))
	must(json.Unmarshal([]byte(specs), &list))
	d, err := process.Open(c)
	must(err)
	for _, s := range list {
		must(d.Ensure(context.Background(), s))
	}
	fmt.Println("done")
	time.Sleep(time.Minute)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// startLauncher returns once it is there; reading its output waits until all instances run.
func startLauncher(t *testing.T, c process.Config, specs []launcher.Spec) (*exec.Cmd, io.Reader) {
	config, err := json.Marshal(c)
	require.NoError(t, err)
	list, err := json.Marshal(specs)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "launch", string(config), string(list))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, out
}

func TestLauncherKilled(t *testing.T) {
	t.Parallel()
	c := place(t)
	word := filepath.Base(filepath.Dir(c.Dir))
	specs := many(3, word)
	cmd, out := startLauncher(t, c, specs)
	_, err := out.Read(make([]byte, 4))
	require.NoError(t, err)
	before := grown(t, word, 3)
	_, err = process.Open(c)
	require.ErrorIs(t, err, launcher.ErrOwned)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	d := open(t, c)
	defer d.Close()
	require.Equal(t, before, family(t, word), "no instance was touched")
	for _, s := range specs {
		require.NoError(t, d.Ensure(t.Context(), s))
	}
	require.Equal(t, before, family(t, word), "none was started a second time")
	list, err := d.List(t.Context())
	require.NoError(t, err)
	for _, s := range list {
		require.Contains(t, before, fmt.Sprint(s.PID))
		require.NoError(t, d.Stop(t.Context(), s.ID, time.Second))
	}
	require.Empty(t, family(t, word))
}

// A launcher that is killed at any moment of a start leaves each instance running once or not at all.
func TestLauncherKilledWhileStarting(t *testing.T) {
	t.Parallel()
	c := place(t)
	word := filepath.Base(filepath.Dir(c.Dir))
	specs := many(5, word)
	for round := range 4 {
		cmd, _ := startLauncher(t, c, specs)
		time.Sleep(time.Duration(20+round*45) * time.Millisecond) // where it is by then differs each time
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		d := open(t, c)
		for _, s := range specs {
			require.NoError(t, d.Ensure(t.Context(), s), "round %d", round)
		}
		grown(t, word, len(specs))
		for _, s := range specs {
			require.NoError(t, d.Stop(t.Context(), s.ID, time.Second), "round %d", round)
		}
		require.Empty(t, family(t, word), "round %d", round)
		list, err := d.List(t.Context())
		require.NoError(t, err)
		require.Empty(t, list)
		require.NoError(t, d.Close())
	}
}

func TestShimKilled(t *testing.T) {
	t.Parallel()
	for _, group := range []bool{true, false} {
		c := place(t)
		if !group {
			c.Group = ""
		}
		word := filepath.Base(filepath.Dir(c.Dir))
		d := open(t, c)
		spec := many(1, word)[0]
		spec.Command = []string{"/bin/sh", "-c", "(setsid sleep 300 &); exec sleep 300"}
		require.NoError(t, d.Ensure(t.Context(), spec))
		before := grown(t, word, 2)
		killShim(t, c, spec.ID)

		list, err := d.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, launcher.Exited, list[0].State)
		require.Contains(t, list[0].Problems[len(list[0].Problems)-1].What, "its shim was killed")
		require.NoError(t, d.Ensure(t.Context(), spec))
		for _, pid := range grown(t, word, 2) {
			require.NotContains(t, before, pid, "the old ones are gone before it is started again")
		}
		killShim(t, c, spec.ID)
		require.NoError(t, d.Stop(t.Context(), spec.ID, time.Second))
		require.Empty(t, family(t, word))
		require.NoError(t, d.Close())
	}
}

func killShim(t *testing.T, c process.Config, id string) {
	r, err := shim.ReadRecord(filepath.Join(c.Dir, id))
	require.NoError(t, err)
	require.NoError(t, r.Shim.Signal(unix.SIGKILL))
	require.Eventually(t, func() bool {
		held, err := process.Locked(filepath.Join(c.Dir, id))
		require.NoError(t, err)
		return !held // its last thread is gone
	}, time.Minute, time.Millisecond)
}

// The pid of an instance from before a crash may be anybody's by now.
func TestReusedPID(t *testing.T) {
	t.Parallel()
	c := place(t)
	d := open(t, c)
	defer d.Close()
	spec := launcher.Spec{ID: "a", Service: "s", Command: []string{"/bin/sleep", "300"}}
	require.NoError(t, d.Ensure(t.Context(), spec))
	r, err := shim.ReadRecord(filepath.Join(c.Dir, "a"))
	require.NoError(t, err)
	killShim(t, c, "a")
	require.NoError(t, r.Instance.Signal(unix.SIGKILL))

	time.Sleep(30 * time.Millisecond) // start times are told in ticks of 10 ms; no pid comes around in that time
	stranger := exec.CommandContext(t.Context(), "/bin/sleep", "300")
	require.NoError(t, stranger.Start())
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	r.Instance.PID, r.Shim.PID = stranger.Process.Pid, stranger.Process.Pid // with the start times of the dead ones
	require.NoError(t, shim.WriteRecord(filepath.Join(c.Dir, "a"), r))
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Zero(t, list[0].PID)
	require.NoError(t, d.Ensure(t.Context(), spec))
	require.NoError(t, d.Stop(t.Context(), "a", 0))
	p, err := shim.Find(stranger.Process.Pid)
	require.NoError(t, err)
	require.True(t, p.Alive(), "the stranger was not touched")
	r.Boot = "another"
	require.Empty(t, shim.Remains(shim.Order{}, r), "process ids of another boot mean nothing")
}

func TestStoppedShim(t *testing.T) {
	t.Parallel()
	c := place(t)
	d := open(t, c)
	defer d.Close()
	process.SetPatience(d, 100*time.Millisecond)
	word := filepath.Base(filepath.Dir(c.Dir))
	spec := many(1, word)[0]
	require.NoError(t, d.Ensure(t.Context(), spec))
	r, err := shim.ReadRecord(filepath.Join(c.Dir, spec.ID))
	require.NoError(t, err)
	require.NoError(t, r.Shim.Signal(unix.SIGSTOP))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, d.Stop(ctx, spec.ID, time.Hour), context.DeadlineExceeded)
	grown(t, word, 1)
	require.NoError(t, d.Stop(t.Context(), spec.ID, 0), "a shim that does not answer is ended with its instance")
	require.Empty(t, family(t, word))
}
