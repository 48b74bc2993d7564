package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/internal/lab"
)

// Outage is what became of connections after an instance died.
type Outage struct {
	OutAfterMS float64 `json:"out_after_ms"` // then the last connection had failed that was still sent there
	Met        int     `json:"met"`          // connections that were
	Tried      int     `json:"tried"`
}

func (o Outage) String() string {
	return fmt.Sprintf("out of the rules of all nodes after %.1f s; until then %d of %d connections met it", o.OutAfterMS/1000, o.Met, o.Tried)
}

const (
	outageBatch = 20               // connections between two looks at the clock
	outageCalm  = time.Second      // without a failure on any node: it is over
	outageLimit = 15 * time.Second // three nodes check it every second
)

// killInstance closes an instance's sockets, as the kernel does when its process dies, and connects from every node until none is sent there any more.
func (s *stage) killInstance(ctx context.Context, i int) (Outage, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, outageLimit, errors.New("connections still fail"))
	defer cancel()
	died := time.Now()
	if err := s.servers[i].Close(); err != nil {
		return Outage{}, err
	}
	var mu sync.Mutex
	var out Outage
	last := died // failure on any node
	g, ctx := errgroup.WithContext(ctx)
	for _, node := range s.cluster.Nodes {
		g.Go(func() error {
			for {
				r, err := lab.Flood(ctx, node.Namespace, lab.Load{Frontend: frontend, Connections: outageBatch})
				if err != nil {
					return fmt.Errorf("%w: %w", err, context.Cause(ctx))
				}
				mu.Lock()
				out.Tried, out.Met = out.Tried+r.Connections, out.Met+r.Failed
				if r.Failed > 0 {
					last = time.Now()
				}
				calm := time.Since(last)
				mu.Unlock()
				if calm > outageCalm {
					return nil
				}
			}
		})
	}
	err := g.Wait()
	out.OutAfterMS = float64(last.Sub(died).Microseconds()) / 1000
	return out, err
}
