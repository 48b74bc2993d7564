package monitor

import (
	"context"
	"errors"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/runner"
)

// Complainer tells what this load monitor complains of, for one that is a process of its own. An agent tells what its own
// complains of among its problems.
type Complainer interface {
	// Tell says what is wrong now, and whether that was news. It has to be asked anew within a minute for that to stay.
	Tell(ctx context.Context, l cluster.Loadmon) (wrote bool, err error)
	// End takes back what was told.
	End()
}

const (
	complaintsLook     = 2 * time.Second  // between two looks for what to complain of, and so between two writes
	complaintsReview   = 20 * time.Second // then what was told is told anew: etcd may have been wiped, and the lease runs out
	complaintsRetry    = 10 * time.Second // the longest, after writes that failed
	complaintsPatience = 10 * time.Second // for one write
)

// complaints tell what cannot be checked or asked here, as long as there is something.
type complaints struct {
	c      Config
	teller *runner.Runner

	told  cluster.Loadmon // of the teller's goroutine, as what follows
	at    time.Time       // when that was told; zero: it is not known what is
	muted bool            // this node's role does not allow it, and that was said
}

func newComplaints(c Config, failed func(error, time.Duration)) *complaints {
	k := &complaints{c: c}
	k.teller = runner.New(k.tell, runner.Options{Min: complaintsLook, Max: complaintsLook, RetryMin: complaintsLook, RetryMax: complaintsRetry, Failed: failed})
	return k
}

// run tells until the context ends, and takes everything back then.
func (k *complaints) run(ctx context.Context) error {
	if k.c.Complainer == nil {
		return nil
	}
	defer k.c.Complainer.End()
	k.teller.Kick() // what a process before complained of may not hold any more
	return k.teller.Run(ctx)
}

// tell says what is wrong now, where that is not known already.
func (k *complaints) tell(ctx context.Context) error {
	now := cluster.Complaining(k.c.Problems())
	k.c.Metrics.complaints.Set(float64(now.Count()))
	if k.known(now) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, complaintsPatience)
	defer cancel()
	wrote, err := k.c.Complainer.Tell(ctx, now)
	if wrote {
		k.c.Metrics.complaintWrites.Inc()
	}
	if errors.Is(err, cluster.ErrDenied) { // a role that was made by an older version lacks the key
		if !k.muted {
			k.c.Logger.Warn("what the load monitor complains of is told on its page /debug/problems only", "err", err)
		}
		k.muted, k.told, k.at = true, now, time.Now()
		return nil
	}
	if err != nil {
		k.at = time.Time{} // the answer may be all that was lost
		return err
	}
	k.muted, k.told, k.at = false, now, time.Now()
	return nil
}

// known says that nothing has to be told. Where nothing was told that may run out there is nothing to tell anew either.
func (k *complaints) known(now cluster.Loadmon) bool {
	return !k.at.IsZero() && now.Same(k.told) && (len(now.Problems) == 0 || time.Since(k.at) < complaintsReview)
}
