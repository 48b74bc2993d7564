package leader_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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
	l, err := leader.New(leader.Config{Name: name, Store: real{s}, Loads: &wavering{}, Interval: round, Lease: 2 * time.Second})
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

// writers are who wrote the events after a revision.
func writers(t *testing.T, s real, after int64) (names map[string]int, last int64) {
	t.Helper()
	events, err := s.Events(t.Context(), "a")
	require.NoError(t, err)
	names = map[string]int{}
	for _, e := range events {
		if e.Revision > after {
			names[e.By]++
			last = e.Revision
		}
	}
	return names, last
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
	one := process(t, endpoint, "cc1")
	eventually(t, "cc1 writes", func() bool { names, _ := writers(t, s, 0); return names["cc1"] > 2 })
	two := process(t, endpoint, "cc2")
	time.Sleep(5 * round)
	names, _ := writers(t, s, 0)
	require.Zero(t, names["cc2"], "it waits")
	require.NoError(t, one.Signal(syscall.SIGSTOP))
	time.Sleep(2 * round)
	_, stopped := writers(t, s, 0)
	var over int64
	eventually(t, "cc2 takes over", func() bool { names, over = writers(t, s, stopped); return names["cc2"] > 0 })
	require.Zero(t, names["cc1"])
	require.NoError(t, one.Signal(syscall.SIGCONT))
	time.Sleep(20 * round)
	names, _ = writers(t, s, over)
	require.Zero(t, names["cc1"], "%v", names)
	require.Positive(t, names["cc2"])
	require.NoError(t, two.Signal(syscall.SIGTERM))
	eventually(t, "cc1 leads again", func() bool { names, _ := writers(t, s, over); return names["cc1"] > 0 })
}
