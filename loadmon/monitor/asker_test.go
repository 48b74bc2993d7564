package monitor

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
	"github.com/weir-lb/weir/loadmon/sample"
)

// asker says of every instance that it is half used, and that it was asked twice since the last time.
type asker struct {
	mu      sync.Mutex
	wanted  []*cluster.Snapshot
	running bool
	asked   uint64
}

func (a *asker) Want(s *cluster.Snapshot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = append(a.wanted, s)
}

func (a *asker) Run(ctx context.Context) error {
	a.running = true
	<-ctx.Done()
	return nil
}

func (a *asker) Add(loads []loadmon.Load, _ time.Time) {
	for i := range loads {
		loads[i].Utilization = new(0.5)
	}
}

func (a *asker) Asked() map[sample.ID]sample.Questions {
	a.asked += 2
	return map[sample.ID]sample.Questions{{Service: "a", Instance: "192.168.1.1:80"}: {To: netip.MustParseAddrPort("192.168.1.1:80"), Count: a.asked}}
}

// What instances say of themselves is in the report, and asking them is not counted as their clients.
func TestOwnFiguresAreReported(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, s := &asker{}, &sampler{}
		m := newMonitor(t, Config{Sampler: s, Asker: a})
		stop := run(t, m.Run)
		first, second := published(t, n1, []string{"192.168.1.1:80"}), published(t, n1, []string{"192.168.1.1:80"})
		m.Deliver(first)
		time.Sleep(21 * time.Second)
		synctest.Wait()
		require.True(t, a.running)
		answer := httptest.NewRecorder()
		m.load(answer, httptest.NewRequest("GET", "/v1/load", nil))
		var report loadmon.Report
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &report))
		require.Equal(t, []loadmon.Load{{Service: "a", Instance: "192.168.1.1:80", Utilization: new(0.5)}}, report.Loads, "five connections, all of them ours")
		m.Deliver(second)
		synctest.Wait()
		require.Same(t, first, a.wanted[0])
		require.Same(t, second, a.wanted[len(a.wanted)-1])
		stop()
	})
}
