package launchertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
)

// programs are the parts for drivers whose instances are programs of this host.
var programs = []struct {
	name string
	run  func(*testing.T, *stage)
}{
	{"a command that does not exist", noCommand},
	{"a command that cannot be run", noProgram},
	{"exits at once", exitsAtOnce},
	{"crash loop", crashLoop},
	{"killed from outside", killed},
	{"obeys TERM", obeys},
	{"a wrapper that does not pass TERM on", wrapper},
	{"ignores TERM and forks away", ignores},
	{"ends and leaves others", leaves},
	{"port busy", portBusy},
	{"environment", environment},
	{"memory limit", memoryLimit},
	{"log flood", logFlood},
	{"says odd things", oddOutput},
}

// shell is an instance that runs a script.
func (s *stage) shell(id, script string) launcher.Spec {
	spec := s.bench.Spec(s, 0)
	spec.ID, spec.Ports = id, nil
	spec.Command = []string{"/bin/sh", "-c", script}
	return spec
}

// family are the processes that have a word in their environment: what an instance started, however detached.
func family(t testing.TB, word string) (out []int) {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, file := range all {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), "FAMILY="+word) {
			pid, err := strconv.Atoi(strings.Split(file, "/")[2])
			require.NoError(t, err)
			out = append(out, pid)
		}
	}
	return out
}

// mark gives an instance a word of its own.
func mark(spec *launcher.Spec) string {
	word := fmt.Sprintf("%s-%d-%d", spec.ID, os.Getpid(), time.Now().UnixNano())
	spec.Env = map[string]string{"FAMILY": word}
	return word
}

func noCommand(_ *testing.T, s *stage) {
	spec := s.shell("a", "")
	spec.Command = []string{"/nonexistent/program"}
	err := s.driver.Ensure(s.Context(), spec)
	require.ErrorContains(s, err, "/nonexistent/program")
	require.ErrorContains(s, err, "no such file")
	require.Empty(s, s.list(), "nothing half done is left")
	spec.Command = []string{"/bin/true"}
	spec.WorkDir = "/nonexistent"
	require.ErrorContains(s, s.driver.Ensure(s.Context(), spec), "/nonexistent")
	require.Empty(s, s.list())
	imaged := spec
	imaged.WorkDir, imaged.Image = "", "shop:1"
	require.ErrorContains(s, s.driver.Ensure(s.Context(), imaged), "not for programs of this host")
	spec.Command = nil
	require.ErrorIs(s, s.driver.Ensure(s.Context(), spec), launcher.ErrRefused)
}

func noProgram(t *testing.T, s *stage) {
	file := filepath.Join(t.TempDir(), "text")
	require.NoError(s, os.WriteFile(file, []byte("text"), 0o644))
	spec := s.shell("a", "")
	spec.Command = []string{file}
	require.ErrorContains(s, s.driver.Ensure(s.Context(), spec), "permission denied")
	require.Empty(s, s.list())
}

func exitsAtOnce(_ *testing.T, s *stage) {
	spec := s.shell("a", "echo out of luck >&2; exit 3")
	s.ensure(spec)
	got := s.until("a", exited)
	require.Equal(s, []any{0, 1, 1, 3, ""}, []any{got.PID, got.Starts, len(got.Exits), got.Exits[0].Code, got.Exits[0].Signal})
	require.Equal(s, []string{"out of luck"}, got.Output)
	require.WithinDuration(s, time.Now(), got.Exits[0].At, time.Minute)
}

func crashLoop(_ *testing.T, s *stage) {
	spec := s.shell("a", "exit $(($(date +%s%N) % 7 + 1))")
	for n := range 8 {
		s.ensure(spec)
		got := s.until("a", func(i launcher.Status) bool { return i.State == launcher.Exited && i.Starts == n+1 })
		require.Equal(s, min(n+1, 5), len(got.Exits))
		require.True(s, slices.IsSortedFunc(got.Exits, func(a, b launcher.Exit) int { return a.At.Compare(b.At) }))
		require.NotZero(s, got.Exits[len(got.Exits)-1].Code)
	}
	s.reopen()
	require.Equal(s, 8, s.status("a").Starts, "a restart of the launcher forgets nothing")
	s.stop("a", 0)
	s.ensure(spec)
	require.Equal(s, 1, s.status("a").Starts, "a stop does")
}

func killed(_ *testing.T, s *stage) {
	spec := s.shell("a", "exec sleep 300")
	s.ensure(spec)
	p, err := os.FindProcess(s.running("a").PID)
	require.NoError(s, err)
	require.NoError(s, p.Kill())
	got := s.until("a", exited)
	require.Equal(s, []any{-1, "killed", false}, []any{got.Exits[0].Code, got.Exits[0].Signal, got.Exits[0].Wanted})
	require.Equal(s, "ended by signal: killed", got.Exits[0].String())
	s.ensure(spec)
	require.Equal(s, 2, s.running("a").Starts)
}

func obeys(t *testing.T, s *stage) {
	file := filepath.Join(t.TempDir(), "done")
	spec := s.shell("a", `trap 'echo bye > `+file+`; exit 0' TERM; echo ready; while :; do sleep 0.01; done`)
	spec.User = "root" // to write into the test's directory
	s.ensure(spec)
	s.until("a", func(i launcher.Status) bool { return slices.Contains(i.Output, "ready") })
	s.stop("a", 20*time.Second)
	text, err := os.ReadFile(file)
	require.NoError(s, err)
	require.Equal(s, "bye\n", string(text))
}

func wrapper(t *testing.T, s *stage) {
	file := filepath.Join(t.TempDir(), "done")
	spec := s.shell("a", `sh -c 'trap "echo bye > `+file+`; exit 0" TERM; echo ready; while :; do sleep 0.01; done' & wait`)
	spec.User = "root"
	s.ensure(spec)
	s.until("a", func(i launcher.Status) bool { return slices.Contains(i.Output, "ready") })
	s.stop("a", 20*time.Second)
	require.FileExists(s, file, "what the wrapper started is asked too, once the wrapper is gone")
}

// tree ignores TERM, and has a child, a daemon in a session of its own whose parent is gone, and a daemon of that one.
const tree = `trap '' TERM
sleep 300 &
setsid sh -c 'trap "" TERM; (setsid sh -c "trap \"\" TERM; echo ready; sleep 301; sleep 302" &) ; sleep 303' &
while :; do sleep 1; done`

func ignores(_ *testing.T, s *stage) {
	spec := s.shell("a", tree)
	word := mark(&spec)
	s.ensure(spec)
	s.until("a", func(i launcher.Status) bool { return slices.Contains(i.Output, "ready") })
	require.Eventually(s, func() bool { return len(family(s, word)) >= 6 }, time.Minute, 5*time.Millisecond)
	s.stop("a", 300*time.Millisecond)
	require.Empty(s, family(s, word), "the whole tree is gone when Stop returns")
	require.Empty(s, s.list())
}

func leaves(_ *testing.T, s *stage) {
	spec := s.shell("a", "(setsid sleep 300 &); sleep 0.05; exit 7")
	word := mark(&spec)
	s.ensure(spec)
	got := s.until("a", exited)
	require.Equal(s, 7, got.Exits[0].Code)
	require.Empty(s, family(s, word), "what is left of an instance that ended would hold its port")
	require.Len(s, got.Problems, 1)
	require.Contains(s, got.Problems[0].What, "left others")
}

func portBusy(_ *testing.T, s *stage) {
	free, first := listen(s)
	taken, second := listen(s)
	require.NoError(s, free.Close())
	spec := s.shell("a", "exec sleep 300")
	spec.Host = netip.MustParseAddr("127.0.0.1")
	spec.Ports = []cluster.Port{{Name: "admin", Port: first}, {Name: "http", Port: second}}
	busy := func(spec launcher.Spec, port uint16, why string) {
		s.Helper()
		err := s.driver.Ensure(s.Context(), spec)
		require.ErrorIs(s, err, launcher.ErrPortBusy, why)
		require.ErrorContains(s, err, strconv.Itoa(int(port)))
		require.Equal(s, port, launcher.BusyPort(err), why)
	}
	busy(spec, second, "this one, and not the first")
	require.Empty(s, s.list())
	other := spec
	other.ID, other.Ports = "b", spec.Ports[:1]
	s.ensure(other) // the one that was free still is
	s.stop("b", 0)
	require.NoError(s, taken.Close())
	s.ensure(spec)
	other.Ports = spec.Ports[1:]
	busy(other, second, "the port belongs to an instance that does not listen yet")
	s.reopen()
	busy(other, second, "also after a restart")
	s.stop("a", 0)
	s.ensure(other)

	packet, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(s, err)
	defer packet.Close()
	number := uint16(packet.LocalAddr().(*net.UDPAddr).Port)
	spec.Ports = []cluster.Port{{Port: number, Protocol: cluster.UDP}}
	busy(spec, number, "of another protocol")
}

// listen takes a port that is free again once it is closed: one that the kernel gives to whoever asks for any may be somebody's
// by then.
func listen(t testing.TB) (net.Listener, uint16) {
	for {
		number := 10000 + rand.Uint32N(10000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", number))
		if !errors.Is(err, syscall.EADDRINUSE) {
			require.NoError(t, err)
			t.Cleanup(func() { l.Close() })
			return l, uint16(number)
		}
	}
}

func environment(_ *testing.T, s *stage) {
	spec := s.shell("a", `env | grep -v "^PWD\|^_=" | sort; echo --; . "$WEIR_ENV_FILE"; echo "$QUOTED"; id -u; id -G; grep NoNewPrivs /proc/self/status; pwd`)
	spec.Service = "shop"
	spec.Host = netip.MustParseAddr("127.0.0.1")
	one, http := listen(s)
	two, admin := listen(s)
	require.NoError(s, errors.Join(one.Close(), two.Close()))
	spec.Ports = []cluster.Port{{Name: "http", Port: http}, {Name: "admin-x", Port: admin}}
	spec.Env = map[string]string{"QUOTED": `it's "$HOME"`, "PATH": "/bin:/usr/bin"}
	spec.User, spec.WorkDir = "nobody", "/usr"
	s.ensure(spec)
	out := s.until("a", exited).Output
	for _, line := range []string{
		fmt.Sprint("PORT=", http), fmt.Sprint("PORT_HTTP=", http), fmt.Sprint("PORT_ADMIN_X=", admin), "HOST_IP=127.0.0.1", "APP_NAME=shop", "INSTANCE_ID=a", "LOG_ADDR=",
		"PATH=/bin:/usr/bin", `QUOTED=it's "$HOME"`, `it's "$HOME"`, "65534", "NoNewPrivs: 1", "/usr",
	} {
		require.Contains(s, out, line)
	}
	require.Equal(s, 2, strings.Count(strings.Join(out, "\n"), "\n65534"), "no other groups: %q", out)
}

func memoryLimit(_ *testing.T, s *stage) {
	spec := s.shell("a", "echo start; exec tail /dev/zero") // reads for ever, and keeps all of it
	spec.Resources.Memory = 24 << 20
	s.ensure(spec)
	got := s.until("a", exited)
	require.True(s, got.Exits[0].OutOfMemory, "%+v", got)
	require.Equal(s, "killed", got.Exits[0].Signal)
	require.Len(s, got.Problems, 1, "%+v", got.Problems)
	require.Equal(s, "resources.memory", got.Problems[0].Field)
	require.Contains(s, got.Problems[0].What, "25165824 bytes")
	require.Equal(s, []string{"start"}, got.Output)

	spec = s.shell("b", "sh -c 'tail /dev/zero'; echo survived; exec sleep 300")
	spec.Resources.Memory = 24 << 20
	s.ensure(spec)
	got = s.until("b", func(i launcher.Status) bool { return slices.Contains(i.Output, "survived") })
	require.Equal(s, launcher.Running, got.State)
	require.Len(s, got.Problems, 1, "said while it runs, too")
	require.Equal(s, "resources.memory", got.Problems[0].Field)
}

func logFlood(_ *testing.T, s *stage) {
	spec := s.shell("a", `head -c 30000000 /dev/zero | tr '\0' x; i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done; echo last; exec sleep 300`)
	s.ensure(spec)
	got := s.until("a", func(i launcher.Status) bool { return len(i.Output) > 0 && i.Output[len(i.Output)-1] == "last" })
	require.Equal(s, launcher.Running, got.State)
	require.Len(s, got.Output, 20)
	for _, line := range got.Output {
		require.LessOrEqual(s, len(line), 400)
	}
}

func oddOutput(_ *testing.T, s *stage) {
	spec := s.shell("a", `printf 'red \033[31m\007 bad \377\376 \342\200\256\n\n'; printf 'no end'`)
	s.ensure(spec)
	require.Equal(s, []string{`red \x1b[31m\a bad \xff\xfe \u202e`, "", "no end"}, s.until("a", exited).Output)
}
