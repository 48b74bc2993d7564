package leader_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/leader"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/loadmon"
)

// A test may start this binary once more as a control center: a process can be stopped as a whole.
const leadsAt = "WEIR_TEST_LEADS_AT"

func TestMain(m *testing.M) {
	if endpoint := os.Getenv(leadsAt); endpoint != "" {
		if err := restless(endpoint, os.Getenv("WEIR_TEST_NAME")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// restless leads with something to write in each round: the first instance's wish changes all the time.
func restless(endpoint, name string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{endpoint}})
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := leader.New(leader.Config{Name: name, Store: real{s}, Loads: &wavering{}, Interval: round})
	if err != nil {
		return err
	}
	return l.Run(ctx)
}

type wavering struct{ calls atomic.Int64 }

func (w *wavering) Loads(_ context.Context, node string, _ *cluster.Node) (loadmon.Report, []cluster.Problem, error) {
	wish := []float64{0.2, 0.8}[w.calls.Add(1)/2%2]
	load := loadmon.Load{Service: "a", Instance: id(2)}
	if node == "n1" {
		load = loadmon.Load{Service: "a", Instance: id(1), Wish: &wish}
	}
	r, err := says(node, load)()
	return r, nil, err
}

// process starts a control center.
func process(t *testing.T, endpoint, name string) *os.Process {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), leadsAt+"="+endpoint, "WEIR_TEST_NAME="+name)
	c.Stderr = os.Stderr
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c.Process
}

// wrote is the first and the last revision, of those that are kept, at which somebody wrote an event; 0: none.
func wrote(t *testing.T, s real, name string) (first, last int64) {
	t.Helper()
	events, err := s.Events(t.Context(), "a")
	require.NoError(t, err)
	for _, e := range events {
		if e.By == name {
			first, last = min(cmp.Or(first, e.Revision), e.Revision), max(last, e.Revision)
		}
	}
	return first, last
}

// goesOn waits until somebody wrote so many times more.
func goesOn(t *testing.T, s real, name string, times int) {
	t.Helper()
	for range times {
		_, before := wrote(t, s, name)
		eventually(t, name+" writes", func() bool { _, last := wrote(t, s, name); return last > before })
	}
}

// standing are the names of those who lead or would, the leader's first.
func standing(t *testing.T, s real) (names []string) {
	t.Helper()
	candidates, err := s.Candidates(t.Context())
	require.NoError(t, err)
	for _, c := range candidates {
		names = append(names, c.Name)
	}
	return names
}

// The leader is stopped as by SIGSTOP, or a host that swaps; the other takes over. When the first goes on in the middle of
// what it did, it changes nothing any more, and waits for its turn.
func TestALeaderThatWasStoppedWritesNothing(t *testing.T) {
	t.Parallel()
	endpoint := server(t)
	s := open(t, endpoint)
	static := service("a", 2)
	static.Balance, static.Load = cluster.BalanceStatic, &cluster.LoadSource{Agent: 8081}
	published(t, s, static)
	stands := func(names ...string) func() bool {
		return func() bool { return slices.Equal(names, standing(t, s)) }
	}
	one := process(t, endpoint, "cc1")
	goesOn(t, s, "cc1", 3)
	two := process(t, endpoint, "cc2")
	eventually(t, "cc2 stands for election", stands("cc1", "cc2"))
	goesOn(t, s, "cc1", 5)
	_, last := wrote(t, s, "cc2")
	require.Zero(t, last, "it waits")
	require.NoError(t, one.Signal(syscall.SIGSTOP))
	var over int64
	eventually(t, "cc2 takes over", func() bool { over, _ = wrote(t, s, "cc2"); return over > 0 })
	require.NoError(t, one.Signal(syscall.SIGCONT))
	eventually(t, "cc1 stands again", stands("cc2", "cc1"))
	for range 10 {
		goesOn(t, s, "cc2", 1)
		_, last = wrote(t, s, "cc1")
		require.Less(t, last, over)
	}
	require.NoError(t, two.Signal(syscall.SIGTERM))
	eventually(t, "cc1 leads again", func() bool { _, last := wrote(t, s, "cc1"); return last > over })
}
