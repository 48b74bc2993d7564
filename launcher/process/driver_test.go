package process_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process"
	"github.com/weir-lb/weir/launcher/process/shim"
)

func script(id, text string) launcher.Spec {
	return launcher.Spec{ID: id, Service: "s", Command: []string{"/bin/sh", "-c", text}}
}

// until waits for the one instance of a driver to be so.
func until(t *testing.T, d *process.Driver, fits func(launcher.Status) bool) launcher.Status {
	t.Helper()
	var last launcher.Status
	require.Eventually(t, func() bool {
		list, err := d.List(t.Context())
		require.NoError(t, err)
		require.Len(t, list, 1)
		last = list[0]
		return fits(last)
	}, time.Minute, 5*time.Millisecond, "last: %+v", &last)
	return last
}

func exited(s launcher.Status) bool { return s.State == launcher.Exited }

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	c := place(t)
	c.OutputBytes, c.OutputFiles = 256<<10, 4
	d := open(t, c)
	defer d.Close()
	require.NoError(t, d.Ensure(t.Context(), script("a", `i=0; while [ $i -lt 30000 ]; do echo "line $i"; i=$((i+1)); done; head -c 1000000 /dev/zero | tr '\0' x; echo; echo last`)))
	until(t, d, exited)
	files, err := filepath.Glob(filepath.Join(c.Dir, "a", "output.log*"))
	require.NoError(t, err)
	require.Len(t, files, 4)
	total := int64(0)
	for _, f := range files {
		info, err := os.Stat(f)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode())
		total += info.Size()
	}
	require.LessOrEqual(t, total, c.OutputBytes)
	require.Greater(t, total, c.OutputBytes/2, "what there is room for is kept")
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(text), " stdout F last\n"), "the newest is in the first file")

	require.NoError(t, d.Ensure(t.Context(), script("a", `i=0; while [ $i -lt 30000 ]; do echo "line $i"; i=$((i+1)); done; head -c 1000000 /dev/zero | tr '\0' x; echo; echo last`)))
	until(t, d, func(s launcher.Status) bool { return exited(s) && s.Starts == 2 })
	again, err := filepath.Glob(filepath.Join(c.Dir, "a", "output.log*"))
	require.NoError(t, err)
	require.Equal(t, files, again, "a start again adds to what is there")
}

// tiny is a directory on a file system of its own, of two megabytes.
func tiny(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m,mode=711"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	root := tiny(t)
	c := placeIn(t, root)
	d := open(t, c)
	require.NoError(t, d.Ensure(t.Context(), script("a", `head -c 8000000 /dev/zero | tr '\0' x; echo; echo working; exit 9`)))
	got := until(t, d, exited)
	require.Equal(t, 9, got.Exits[0].Code, "it neither waited for the disk, nor was its end forgotten")
	require.Equal(t, "working", got.Output[len(got.Output)-1])
	require.Len(t, got.Problems, 1)
	require.Equal(t, "output", got.Problems[0].Field)
	require.Contains(t, got.Problems[0].What, "no space left on device")

	err := d.Ensure(t.Context(), script("b", "exec sleep 300"))
	require.ErrorContains(t, err, "no space left on device")
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1, "nothing half done is left")
	require.NoError(t, d.Stop(t.Context(), "a", 0), "a full disk does not keep anything from being stopped")
	require.NoError(t, d.Close())
}

func TestWithoutGroups(t *testing.T) {
	t.Parallel()
	c := place(t)
	c.Group = ""
	word := filepath.Base(filepath.Dir(c.Dir))
	d := open(t, c)
	defer d.Close()
	spec := script("a", `trap '' TERM; sleep 300 & setsid sh -c 'trap "" TERM; (setsid sh -c "trap \"\" TERM; echo ready; sleep 301; sleep 302" &) ; sleep 303' & while :; do sleep 1; done`)
	spec.Env = map[string]string{"FAMILY": word}
	spec.Resources.Memory = 64 << 20
	require.NoError(t, d.Ensure(t.Context(), spec))
	got := until(t, d, func(s launcher.Status) bool { return slices.Contains(s.Output, "ready") })
	require.Len(t, got.Problems, 1)
	require.Equal(t, "resources", got.Problems[0].Field)
	require.NoError(t, d.Stop(t.Context(), "a", 200*time.Millisecond))
	require.Empty(t, family(t, word))
}

func TestStoppedOutputIsKept(t *testing.T) {
	t.Parallel()
	c := place(t)
	c.KeepStopped = 2
	d := open(t, c)
	defer d.Close()
	for _, id := range []string{"a", "b", "c"} {
		spec := script(id, "echo said; exec sleep 300")
		spec.Env = map[string]string{"SECRET": "hidden"}
		require.NoError(t, d.Ensure(t.Context(), spec))
		until(t, d, func(s launcher.Status) bool { return len(s.Output) > 0 })
		require.NoError(t, d.Stop(t.Context(), id, time.Second))
		time.Sleep(10 * time.Millisecond) // their order is that of time
	}
	kept, err := filepath.Glob(filepath.Join(c.Dir, ".stopped", "*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(c.Dir, ".stopped", "b"), filepath.Join(c.Dir, ".stopped", "c")}, kept)
	require.NoError(t, d.Ensure(t.Context(), script("c", "exec sleep 300")))
	shelf, err := d.Kept()
	require.NoError(t, err)
	require.Equal(t, []launcher.Kept{
		{ID: "b", Service: "s", Dir: kept[0], Stopped: true}, {ID: "c", Service: "s", Dir: kept[1], Stopped: true}, {ID: "c", Service: "s", Dir: filepath.Join(c.Dir, "c")},
	}, shelf)
	require.NoError(t, d.Stop(t.Context(), "c", time.Second))
	files, err := filepath.Glob(filepath.Join(c.Dir, ".stopped", "c", "*"))
	require.NoError(t, err)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		require.False(t, bytes.Contains(text, []byte("hidden")), f)
	}
	left, err := os.ReadDir(c.EnvDir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestUnsafeDirectories(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	try := func(c process.Config) error {
		d, err := process.Open(c)
		if err == nil {
			require.NoError(t, d.Close())
		}
		return err
	}
	dir := func(name string, mode os.FileMode, uid int) string {
		d := filepath.Join(root, name)
		require.NoError(t, os.Mkdir(d, 0o700))
		require.NoError(t, os.Chmod(d, mode))
		require.NoError(t, os.Chown(d, uid, -1))
		return d
	}
	good := dir("good", 0o700, 0)
	require.NoError(t, try(process.Config{Dir: good}))
	require.ErrorIs(t, try(process.Config{Dir: dir("readable", 0o750, 0)}), launcher.ErrUnsafe)
	require.ErrorIs(t, try(process.Config{Dir: dir("writable", 0o702, 0)}), launcher.ErrUnsafe)
	require.ErrorIs(t, try(process.Config{Dir: dir("foreign", 0o700, 65534)}), launcher.ErrUnsafe)
	require.NoError(t, os.Symlink(good, filepath.Join(root, "link")))
	require.ErrorIs(t, try(process.Config{Dir: filepath.Join(root, "link")}), launcher.ErrUnsafe)
	require.NoError(t, os.WriteFile(filepath.Join(root, "file"), nil, 0o600))
	require.ErrorIs(t, try(process.Config{Dir: filepath.Join(root, "file")}), launcher.ErrUnsafe)
	require.ErrorIs(t, try(process.Config{Dir: filepath.Join(root, "new"), EnvDir: dir("env", 0o777, 0)}), launcher.ErrUnsafe)
	env := dir("narrow", 0o700, 0)
	require.NoError(t, try(process.Config{Dir: good, EnvDir: env}))
	info, err := os.Stat(env)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o711), info.Mode().Perm(), "users have to pass through")
	require.ErrorContains(t, try(process.Config{Dir: "relative"}), "absolute")
	require.ErrorContains(t, try(process.Config{Dir: good, OutputBytes: 1}), "64 KiB")
	require.ErrorContains(t, try(process.Config{Dir: good, Group: "../x"}), "control group")
}

// What lies in the directory and is none of its instances harms no other one.
func TestStrangersInTheDirectory(t *testing.T) {
	t.Parallel()
	c := place(t)
	d := open(t, c)
	require.NoError(t, d.Ensure(t.Context(), script("good", "exec sleep 300")))
	elsewhere := t.TempDir()
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(c.Dir, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(c.Dir, "empty"), 0o700))
	require.NoError(t, os.Mkdir(filepath.Join(c.Dir, ".new-half"), 0o700))
	list, err := d.List(t.Context())
	require.ErrorIs(t, err, launcher.ErrUnsafe)
	require.ErrorContains(t, err, "instance empty")
	require.Len(t, list, 1)
	require.ErrorIs(t, d.Ensure(t.Context(), script("link", "exec sleep 300")), launcher.ErrUnsafe)
	require.ErrorIs(t, d.Stop(t.Context(), "link", 0), launcher.ErrUnsafe)
	require.NoError(t, d.Close())
	for _, name := range []string{"link", "empty"} {
		require.NoError(t, os.Remove(filepath.Join(c.Dir, name)))
	}
	d = open(t, c)
	require.NoFileExists(t, filepath.Join(c.Dir, ".new-half"), "what an earlier launcher was making is removed")
	list, err = d.List(t.Context())
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, d.Close())
}

func TestUsers(t *testing.T) {
	t.Parallel()
	c := place(t)
	c.User = ""
	d := open(t, c)
	defer d.Close()
	refused := func(user, what string) {
		spec := script("a", "exec sleep 300")
		spec.User = user
		err := d.Ensure(t.Context(), spec)
		require.ErrorIs(t, err, launcher.ErrRefused)
		require.ErrorContains(t, err, what)
	}
	refused("", "the launcher is root")
	refused("no-such-user", "does not exist")
	refused("-1", "does not exist")
	refused("4294967295", "does not exist")
	for user, want := range map[string]string{"nobody": "65534 65534", "12345": "12345 12345", "root": "0 0"} {
		spec := script("a", `echo "$(id -u) $(id -G)"; stat -c %u:%a "$WEIR_ENV_FILE"`)
		spec.User = user
		require.NoError(t, d.Ensure(t.Context(), spec))
		got := until(t, d, exited)
		require.Equal(t, []string{want, strings.Fields(want)[0] + ":400"}, got.Output)
		require.NoError(t, d.Stop(t.Context(), "a", 0))
	}
}

// What is run is what was checked, by the name that was asked for.
func TestResolved(t *testing.T) {
	t.Parallel()
	d := open(t, place(t))
	defer d.Close()
	spec := launcher.Spec{ID: "a", Service: "s", Command: []string{"/opt/app/current/tool", "-c", `echo "$0"; pwd; exec sleep 300`, "tool"}, WorkDir: "/nonexistent"}
	spec.Resolved = launcher.Resolved{Program: "/bin/sh", WorkDir: "/usr"}
	require.NoError(t, d.Ensure(t.Context(), spec))
	got := until(t, d, func(s launcher.Status) bool { return len(s.Output) == 2 })
	require.Equal(t, []string{"tool", "/usr"}, got.Output)
	spec.Resolved.Program = "/bin/false"
	require.NoError(t, d.Ensure(t.Context(), spec), "it runs; a link that is set anew is for the next start")
}

// Nothing of launcher and shim reaches an instance: neither their descriptors, nor their environment, nor the shim's place
// when memory runs out.
func TestNothingIsInherited(t *testing.T) {
	t.Parallel()
	const leaked = 200 // a descriptor that every child of this process gets
	require.NoError(t, unix.Dup3(int(os.Stdin.Fd()), leaked, 0))
	defer unix.Close(leaked)
	c := place(t)
	d := open(t, c)
	defer d.Close()
	require.NoError(t, d.Ensure(t.Context(), launcher.Spec{ID: "a", Service: "s", Command: []string{"/bin/ls", "/proc/self/fd"}}))
	require.Equal(t, []string{"0", "1", "2", "3"}, until(t, d, exited).Output, "and the directory that it lists")
	require.NoError(t, d.Stop(t.Context(), "a", 0))
	require.NoError(t, d.Ensure(t.Context(), script("a", `echo $(env | cut -d= -f1 | grep -v "^_$" | sort); cat /proc/$$/oom_score_adj; umask; ps -o sid= -p $$ | tr -d ' '; exec sleep 300`)))
	got := until(t, d, func(s launcher.Status) bool { return len(s.Output) == 4 })
	require.Equal(t, []string{
		"APP_NAME HOME HOST_IP INSTANCE_ID LOG_ADDR PATH PWD USER WEIR_ENV_FILE", "0", "0022", fmt.Sprint(got.PID),
	}, got.Output)
	r, err := shim.ReadRecord(filepath.Join(c.Dir, "a"))
	require.NoError(t, err)
	score, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", r.Shim.PID))
	require.NoError(t, err)
	want := "-900\n"
	if os.WriteFile("/proc/self/oom_score_adj", []byte("-1"), 0) != nil {
		want = "0\n" // this machine lets nobody be spared
	}
	require.NoError(t, os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0))
	require.Equal(t, want, string(score))
}

// What the driver gives beside is no part of what an instance was asked to run by: it may change, and nothing differs.
func TestGiven(t *testing.T) {
	t.Parallel()
	c := place(t)
	word := "first"
	c.Given = func(id string) []string { return []string{"WEIR_TOKEN=" + word + " of " + id} }
	d := open(t, c)
	defer d.Close()
	spec := script("a", `echo "$WEIR_TOKEN"; grep ^WEIR_TOKEN "$WEIR_ENV_FILE"; exec sleep 300`)
	require.NoError(t, d.Ensure(t.Context(), spec))
	got := until(t, d, func(s launcher.Status) bool { return len(s.Output) == 2 })
	require.Equal(t, []string{"first of a", "WEIR_TOKEN='first of a'"}, got.Output)
	word = "second"
	require.NoError(t, d.Ensure(t.Context(), spec))
	require.Equal(t, got.PID, until(t, d, func(launcher.Status) bool { return true }).PID, "it runs on")
}

// A shim that hangs before there is an instance.
func TestStartTimeout(t *testing.T) {
	t.Parallel()
	c := place(t)
	patient := c.StartTimeout
	c.StartTimeout = 200 * time.Millisecond
	c.Shim = []string{"/bin/sh", "-c", "sleep 300"}
	d := open(t, c)
	require.ErrorContains(t, d.Ensure(t.Context(), script("a", "exec sleep 300")), "did not start within 200ms")
	require.NoError(t, d.Close())
	c.StartTimeout = patient
	c.Shim = []string{"/bin/false"}
	d = open(t, c)
	require.ErrorContains(t, d.Ensure(t.Context(), script("a", "exec sleep 300")), "its shim ended")
	require.NoError(t, d.Close())
	c.Shim = []string{"/nonexistent"}
	d = open(t, c)
	require.ErrorContains(t, d.Ensure(t.Context(), script("a", "exec sleep 300")), "no such file")
	list, err := d.List(t.Context())
	require.NoError(t, err)
	require.Empty(t, list)
	require.NoError(t, d.Close())
}

func TestLogServer(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "udp"} {
		lines := make(chan string, 100)
		var address string
		if network == "udp" {
			server, err := net.ListenPacket("udp", "127.0.0.1:0")
			require.NoError(t, err)
			defer server.Close()
			address = server.LocalAddr().String()
			go func() {
				for buffer := make([]byte, 4096); ; {
					n, _, err := server.ReadFrom(buffer)
					if err != nil {
						return
					}
					lines <- string(buffer[:n])
				}
			}()
		} else {
			server, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer server.Close()
			address = server.Addr().String()
			go func() {
				conn, err := server.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				for r := bufio.NewReader(conn); ; {
					var size int
					if _, err := fmt.Fscanf(r, "%d ", &size); err != nil {
						return
					}
					text := make([]byte, size)
					if _, err := io.ReadFull(r, text); err != nil {
						return
					}
					lines <- string(text)
				}
			}()
		}
		c := place(t)
		d := open(t, c)
		spec := script("a-1", `echo hello; echo trouble >&2; echo "$LOG_ADDR"`)
		spec.Service, spec.LogAddress = "shop", network+"://"+address
		require.NoError(t, d.Ensure(t.Context(), spec))
		host, err := os.Hostname()
		require.NoError(t, err)
		got := map[string][]string{} // by priority: one stream is not ordered after the other
		for range 3 {
			fields := strings.SplitN(<-lines, " ", 3)
			at, err := time.Parse(time.RFC3339Nano, fields[1])
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), at, time.Minute)
			got[fields[0]] = append(got[fields[0]], fields[2])
		}
		from := host + " shop a-1 - - "
		require.Equal(t, map[string][]string{"<14>1": {from + "hello", from + spec.LogAddress}, "<11>1": {from + "trouble"}}, got)
		until(t, d, exited)
		require.NoError(t, d.Close())
	}
}

// A log server that is not there, or takes nothing, costs lines at the server and nothing else.
func TestDeafLogServer(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0") // it never accepts, so that the kernel's buffers fill up
	require.NoError(t, err)
	defer server.Close()
	c := place(t)
	d := open(t, c)
	defer d.Close()
	spec := script("a", "head -c 20000000 /dev/zero | tr '\\0' x | fold -w 1000; echo; echo last")
	spec.LogAddress = "tcp://" + server.Addr().String()
	require.NoError(t, d.Ensure(t.Context(), spec))
	got := until(t, d, exited)
	require.Equal(t, 0, got.Exits[0].Code)
	require.Equal(t, "last", got.Output[len(got.Output)-1])
	require.Len(t, got.Problems, 1)
	require.Contains(t, got.Problems[0].What, "lines were not sent to tcp://127.0.0.1:")
}

func TestBusy(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "::1", ""} {
		number := lab.Loopback().Port() // which no client is given
		address := net.JoinHostPort(host, fmt.Sprint(number))
		l, err := net.Listen("tcp", address)
		require.NoError(t, err)
		busy, err := process.Busy(cluster.TCP, number)
		require.NoError(t, err)
		require.True(t, busy, address)
		busy, err = process.Busy(cluster.UDP, number)
		require.NoError(t, err)
		require.False(t, busy, address)
		conn, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		accepted, err := l.Accept()
		require.NoError(t, err)
		require.NoError(t, l.Close())
		require.NoError(t, accepted.Close()) // it waits for late packets on the listener's port for a minute
		require.NoError(t, conn.Close())
		require.Eventually(t, func() bool { // once no child is left that another test was starting and that has the listener, too
			busy, err := process.Busy(cluster.TCP, number)
			require.NoError(t, err)
			return !busy
		}, 10*time.Second, 10*time.Millisecond, "what is left of connections does not count: %s", address)
	}
}
