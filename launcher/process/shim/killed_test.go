package shim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process"
	"github.com/weir-lb/weir/launcher/process/cgroup"
	"github.com/weir-lb/weir/launcher/process/shim"
)

// This program is a shim, a shim that is killed sooner or later, alone, with its launcher or with its lock in other hands, and a launcher.
func TestMain(m *testing.M) {
	var err error
	switch word := append(os.Args, "")[1]; word {
	case "shim":
		err = shim.Run(os.Args[2])
	case "killed":
		err = shim.RunKilled(os.Args[2])
	case "forsaken":
		err = shim.RunKilled(os.Args[2], os.Getppid())
	case "making":
		err = shim.RunMaking(os.Args[2])
	case "makingForsaken":
		err = shim.RunMaking(os.Args[2], os.Getppid())
	case "held":
		if err = hold(os.Args[2]); err == nil {
			err = shim.RunKilled(os.Args[2])
		}
	case "launch":
		err = launch([]byte(os.Args[2]))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hold has a process hold the lock of a shim, as a child does that has yet to run its program, and writes down which.
func hold(dir string) error {
	unix.CloseOnExec(4) // the launcher waits for the end of its answer
	cmd := exec.Command("/bin/sleep", "300")
	cmd.ExtraFiles = []*os.File{os.NewFile(3, "lock")}
	if err := cmd.Start(); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "holder"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

// launch ensures one instance, as a launcher of its own.
func launch(config []byte) error {
	var c process.Config
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	d, err := process.Open(c)
	if err != nil {
		return err
	}
	return d.Ensure(context.Background(), spec(c))
}

// spec is an instance that ends by itself the first time that it is started, where a file says so.
func spec(c process.Config) launcher.Spec {
	return launcher.Spec{
		ID: "a", Service: "s", Command: []string{"/bin/sh", "-c", `[ -e "$ONCE" ] && exit 3; exec sleep 300`},
		Env: map[string]string{"FAMILY": filepath.Base(filepath.Dir(c.Dir)), "ONCE": filepath.Join(filepath.Dir(c.Dir), "once")},
	}
}

// family are the processes of a place's instance.
func family(t *testing.T, c process.Config) (out []string) {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, file := range all {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "FAMILY="+filepath.Base(filepath.Dir(c.Dir))) {
			out = append(out, strings.Split(file, "/")[2])
		}
	}
	return out
}

// one waits until there is exactly one process of it, which shows that only once it has begun to run its program.
func one(t *testing.T, c process.Config) (pid string) {
	t.Helper()
	require.Eventually(t, func() bool {
		all := family(t, c)
		pid = strings.Join(all, " ")
		return len(all) == 1
	}, time.Minute, time.Millisecond, "it goes on, alone")
	return pid
}

// by is a launcher whose shims are of one kind.
func by(c process.Config, kind string) process.Config {
	c.Shim = []string{"/usr/bin/env", "GORACE=atexit_sleep_ms=0 halt_on_error=1", os.Args[0], kind}
	return c
}

// killed has a test with and without groups, at the first start and at a later one.
func killed(t *testing.T, test func(t *testing.T, c process.Config)) {
	for _, grouped := range []bool{true, false} {
		for _, ended := range []bool{false, true} {
			t.Run(fmt.Sprintf("group=%t/ended=%t", grouped, ended), func(t *testing.T) {
				t.Parallel()
				c := place(t, grouped)
				if ended {
					end(t, c)
				}
				test(t, c)
			})
		}
	}
}

func place(t *testing.T, grouped bool) process.Config {
	root, err := os.MkdirTemp("", "weir-shim-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
	require.NoError(t, os.Chmod(root, 0o711)) // for the environment files
	c := process.Config{Dir: filepath.Join(root, "state"), EnvDir: filepath.Join(root, "env"), User: "nobody", StartTimeout: time.Minute}
	if grouped {
		c.Group = "weir-test-" + filepath.Base(root)
	}
	t.Cleanup(func() {
		d := open(t, by(c, "shim"))
		require.NoError(t, d.Stop(context.Background(), "a", 0))
		require.NoError(t, d.Close())
		groups, err := filepath.Glob("/sys/fs/cgroup/*/" + c.Group)
		require.NoError(t, err)
		for _, g := range groups {
			if grouped {
				require.NoError(t, os.Remove(g), "a group of an instance is left")
			}
		}
	})
	return c
}

func open(t *testing.T, c process.Config) *process.Driver {
	d, err := process.Open(c)
	require.NoError(t, err)
	return d
}

// end lets the instance run once, to its end.
func end(t *testing.T, c process.Config) {
	once := filepath.Join(filepath.Dir(c.Dir), "once")
	require.NoError(t, os.WriteFile(once, nil, 0o600))
	require.NoError(t, os.Chmod(once, 0o644))
	d := open(t, by(c, "shim"))
	defer d.Close()
	require.NoError(t, d.Ensure(t.Context(), spec(c)))
	require.Eventually(t, func() bool {
		list, err := d.List(t.Context())
		require.NoError(t, err)
		return len(list) == 1 && list[0].State == launcher.Exited
	}, time.Minute, time.Millisecond)
	require.NoError(t, os.Remove(once))
}

// A start that fails changes nothing of what is told of the end before.
func TestAFailingStartAfterAnEnd(t *testing.T) {
	t.Parallel()
	c := place(t, true)
	end(t, c)
	d := open(t, by(c, "shim"))
	defer d.Close()
	before, err := d.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, before[0].Exits[0].Code)
	missing := spec(c)
	missing.Resolved.Program = "/nonexistent"
	require.ErrorContains(t, d.Ensure(t.Context(), missing), "no such file")
	after, err := d.List(t.Context())
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// A shim that is killed between the fork of its instance and the record of it leaves a process that its launcher ends.
func TestKilledBeforeTheRecord(t *testing.T) {
	t.Parallel()
	killed(t, func(t *testing.T, c process.Config) {
		d := open(t, by(c, "killed"))
		before, err := d.List(t.Context())
		require.NoError(t, err)
		require.ErrorContains(t, d.Ensure(t.Context(), spec(c)), "its shim ended")
		require.Empty(t, family(t, c))
		after, err := d.List(t.Context())
		require.NoError(t, err)
		require.Len(t, after, len(before))
		require.NoError(t, d.Close())

		d = open(t, by(c, "shim"))
		defer d.Close()
		require.NoError(t, d.Ensure(t.Context(), spec(c)))
		one(t, c)
	})
}

// What may still come stays known: somebody holds the lock of a shim that is gone.
func TestKilledBeforeItsChildHasItsProgram(t *testing.T) {
	t.Parallel()
	c := place(t, true)
	d := open(t, by(c, "held"))
	require.ErrorContains(t, d.Ensure(t.Context(), spec(c)), "something of it may be left")
	require.NoError(t, d.Close())
	one(t, c)
	text, err := os.ReadFile(filepath.Join(c.Dir, "a", "holder"))
	require.NoError(t, err)
	holder, err := strconv.Atoi(string(text))
	require.NoError(t, err)
	require.NoError(t, unix.Kill(holder, unix.SIGKILL))
	d = open(t, by(c, "shim"))
	defer d.Close()
	require.Eventually(t, func() bool {
		list, err := d.List(t.Context())
		require.NoError(t, err)
		return len(list) == 1 && strings.Contains(fmt.Sprint(list[0].Problems), "its shim was killed")
	}, time.Minute, time.Millisecond)
	require.NoError(t, d.Stop(t.Context(), "a", time.Second))
	require.Empty(t, family(t, c))
}

// Where the launcher ended as well, the next one knows that there may be something, and ends it.
func TestKilledWithTheLauncherBeforeTheRecord(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(*testing.T, *process.Driver, process.Config, string){
		"ensured": func(t *testing.T, d *process.Driver, c process.Config, before string) {
			require.NoError(t, d.Ensure(t.Context(), spec(c)))
			require.NotEqual(t, before, one(t, c), "the old one is gone before it is started again")
		},
		"stopped": func(t *testing.T, d *process.Driver, c process.Config, _ string) {
			require.NoError(t, d.Stop(t.Context(), "a", time.Second))
			require.Empty(t, family(t, c))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killed(t, func(t *testing.T, c process.Config) {
				config, err := json.Marshal(by(c, "forsaken"))
				require.NoError(t, err)
				require.ErrorContains(t, exec.CommandContext(t.Context(), os.Args[0], "launch", string(config)).Run(), "killed")
				before := one(t, c)
				d := open(t, by(c, "shim"))
				defer d.Close()
				var list []launcher.Status
				require.Eventually(t, func() bool { // its shim may still be on its way out, with the lock
					var err error
					list, err = d.List(t.Context())
					require.NoError(t, err)
					return len(list) == 1
				}, time.Minute, time.Millisecond)
				require.Equal(t, launcher.Exited, list[0].State)
				require.Contains(t, fmt.Sprint(list[0].Problems), "its shim was killed")
				next(t, d, c, before)
			})
		})
	}
}

// groups are the control groups that are there of a place's instances.
func groups(t *testing.T, c process.Config) (out []string) {
	if c.Group == "" {
		return nil
	}
	mounts, err := cgroup.Find()
	require.NoError(t, err)
	for _, mount := range append(slices.Collect(maps.Values(mounts.Legacy)), mounts.Unified) {
		if mount != "" {
			there, err := filepath.Glob(filepath.Join(mount, c.Group, "i-*"))
			require.NoError(t, err)
			out = append(out, there...)
		}
	}
	return out
}

// A shim that is killed when it has made a group, before it has written so, leaves it to its launcher to remove.
func TestKilledBeforeTheFirstRecord(t *testing.T) {
	t.Parallel()
	killed(t, func(t *testing.T, c process.Config) {
		d := open(t, by(c, "making"))
		defer d.Close()
		before, err := d.List(t.Context())
		require.NoError(t, err)
		require.ErrorContains(t, d.Ensure(t.Context(), spec(c)), "its shim ended")
		require.Empty(t, groups(t, c))
		after, err := d.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, before, after)
	})
}

// Where the launcher ended as well, the next one has it for its start, or removes it with the instance.
func TestKilledWithTheLauncherBeforeTheFirstRecord(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(*testing.T, process.Config){
		"ensured": func(t *testing.T, c process.Config) {
			d := open(t, by(c, "shim"))
			defer d.Close()
			require.NoError(t, d.Ensure(t.Context(), spec(c)))
			one(t, c)
			require.NoError(t, d.Stop(t.Context(), "a", time.Second))
		},
		"stopped": func(t *testing.T, c process.Config) {
			d := open(t, by(c, "shim"))
			defer d.Close()
			require.NoError(t, d.Stop(t.Context(), "a", time.Second))
		},
		"half removed": func(t *testing.T, c process.Config) {
			require.NoError(t, os.Rename(filepath.Join(c.Dir, "a"), filepath.Join(c.Dir, ".new-a")))
			require.NoError(t, open(t, by(c, "shim")).Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killed(t, func(t *testing.T, c process.Config) {
				config, err := json.Marshal(by(c, "makingForsaken"))
				require.NoError(t, err)
				require.ErrorContains(t, exec.CommandContext(t.Context(), os.Args[0], "launch", string(config)).Run(), "killed")
				require.Equal(t, c.Group != "", len(groups(t, c)) > 0)
				next(t, c)
				require.Empty(t, groups(t, c))
			})
		})
	}
}
