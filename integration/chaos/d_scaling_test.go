package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// scalingRounds is how often the leader is killed in the middle.
const scalingRounds = 8

// leaderDiesWhileScaling has an operator scale up and down, and kills the leader at a moment that chance picks.
func leaderDiesWhileScaling(r *run) {
	w := r.world(integration.Options{AgentArgs: integration.LoadsForAll})
	launchers := w.StartLaunchers()
	w.StartControlCenters(2)
	front, few, many := w.Frontend(cluster.TCP, false), 2, 8
	w.Publish(w.Launched("scaled", front, func(s *cluster.Service) { s.Replicas, s.Run.Drain = &few, cluster.Duration(time.Second) }))
	w.AwaitServing("scaled", few, 20*time.Second)
	w.Eventually(10*time.Second, "rules lead to all", func() bool { return len(w.Flood(w.Client, front, 50).ByID) == few })
	load := integration.Load(front, 0)
	load.Workers, load.Pause = 2, 2*time.Millisecond
	probe, err := lab.StartProbe(w.Client.Namespace, load)
	require.NoError(r, err)

	c := r.census(w, launchers, "scaled")
	c.expect(many, few)
	interrupted, longest := 0, time.Duration(0)
	for round := range scalingRounds {
		want, within := many, 300 // milliseconds that it takes, or so
		if round%2 == 1 {
			want, within = few, 1500
		}
		leader := w.AwaitLeader(20 * time.Second)
		said, code := r.weir(w, "scale", "scaled", fmt.Sprint(want), "--force")
		require.Zero(r, code, said)
		time.Sleep(time.Duration(rand.IntN(within)) * time.Millisecond)
		leader.Kill()
		begin := time.Now()
		if len(w.AllServing("scaled")) != want || c.processes() != want {
			interrupted++
		}
		w.Eventually(60*time.Second, fmt.Sprintf("%d run, and no others", want), func() bool {
			return len(w.AllServing("scaled")) == want && c.processes() == want
		})
		longest = max(longest, time.Since(begin))
		leader.Start()
	}
	c.stop()
	got, err := probe.Stop()
	require.NoError(r, err)
	r.line.Conns, r.line.ConnFailed = got.Connections, got.Failed
	r.figure("twice", float64(c.twice))
	r.figure("surplus", float64(c.surplus))
	r.figure("lost", float64(c.lost))
	r.figure("interrupted", float64(interrupted))
	r.figure("t_done_s", longest.Seconds())
	require.Positive(r, interrupted, "the leader was never killed in the middle")
	require.Zero(r, c.twice, "an instance ran twice")
	require.Zero(r, c.surplus, "more were started than are wanted")
	require.Zero(r, c.lost, "fewer served than are wanted")
	require.Zero(r, got.Failed, "%s", got)
}

// census counts, all the time, the processes of a service by their instance, and those that are meant to serve.
type census struct {
	r        *run
	w        *integration.World
	service  string
	dirs     []string // of the launchers
	quit     chan struct{}
	counting sync.WaitGroup
	mu       sync.Mutex
	most     int // that there may be
	least    int
	twice    int // processes beyond the first of one instance, at once
	surplus  int // instances beyond the most
	lost     int // that took connections less than the least
	stopOnce sync.Once
}

func (r *run) census(w *integration.World, launchers []*integration.Launcher, service string) *census {
	c := &census{r: r, w: w, service: service, quit: make(chan struct{}), most: 1 << 30}
	for _, l := range launchers {
		c.dirs = append(c.dirs, l.StateDir)
	}
	c.counting.Go(func() {
		for {
			select {
			case <-c.quit:
				return
			case <-time.After(50 * time.Millisecond):
				c.count()
			}
		}
	})
	r.Cleanup(c.stop)
	return c
}

func (c *census) expect(most, least int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.most, c.least = most, least
}

func (c *census) stop() { c.stopOnce.Do(func() { close(c.quit); c.counting.Wait() }) }

// processes is how many there are now.
func (c *census) processes() (n int) {
	for _, pids := range c.byInstance() {
		n += len(pids)
	}
	return n
}

func (c *census) count() {
	running := c.byInstance()
	ops, err := c.w.Store.Operations(c.r.Context())
	if err != nil {
		return
	}
	meant := 0
	for _, assigned := range ops.Assigned {
		for _, a := range assigned {
			if a.Service == c.service && a.Wanted == cluster.WantServing {
				meant++
			}
		}
	}
	serving := len(c.w.AllServing(c.service))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pids := range running {
		c.twice = max(c.twice, len(pids)-1)
	}
	c.surplus = max(c.surplus, meant-c.most, len(running)-c.most)
	c.lost = max(c.lost, c.least-serving)
}

// byInstance finds the processes that a launcher's shims started: all that run with an environment file of theirs.
func (c *census) byInstance() map[string][]string {
	out := map[string][]string{}
	found, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range found {
		environment, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || len(environment) == 0 { // it has ended, or is about to
			continue
		}
		id, ours := "", false
		for _, v := range strings.Split(string(environment), "\x00") {
			if name, ok := strings.CutPrefix(v, "INSTANCE_ID="); ok {
				id = name
			}
			if file, ok := strings.CutPrefix(v, "WEIR_ENV_FILE="); ok {
				for _, d := range c.dirs {
					ours = ours || strings.HasPrefix(file, d)
				}
			}
		}
		if ours && id != "" {
			out[id] = append(out[id], filepath.Base(dir))
		}
	}
	return out
}
