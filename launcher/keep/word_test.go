package keep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/words"
)

// An instance that says that it fails is out at once, and back at once; the next times later.
func TestItsOwnWordThatItFails(t *testing.T) {
	inBubble(t, func(n *node) {
		require.ErrorIs(t, n.Fail("a-1", ""), words.ErrUnknown)
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.host(func(d *driver) { d.there["a-1"].Output = []string{"out of handles"} })
		n.after(time.Second)
		before := len(n.order())
		require.NoError(t, n.Fail("a-1", "no database"))
		n.after(0)
		require.Equal(t, "hide a-1", n.order()[before], "first out of traffic")
		require.Equal(t, []string{"a-1"}, n.stops())
		require.Equal(t, 2, n.starts("a-1"), "at once")
		n.after(2 * time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		l := n.told("a-1")
		require.Equal(t, "it says that it fails: no database", l.Exit)
		require.Nil(t, l.Problem, "it is well again")

		n.well(20000, false)
		require.NoError(t, n.Fail("a-1", "no database"))
		n.after(500 * time.Millisecond)
		l = n.told("a-1")
		require.Equal(t, cluster.PhaseCrashed, l.Phase)
		require.Equal(t, "it says that it fails: no database", l.Problem.What)
		require.False(t, l.NextTry.IsZero())
		require.Equal(t, 2, n.starts("a-1"), "it crashes again and again")
		n.after(3 * time.Second)
		require.Equal(t, 3, n.starts("a-1"))
		require.Equal(t, cluster.PhaseStarting, n.phase("a-1"))
		require.NotNil(t, n.told("a-1").Problem, "until it is ready")

		n.assign(wanted{"a-1": assigned(20000, cluster.WantDrained)})
		require.ErrorIs(t, n.Fail("a-1", ""), words.ErrUnknown)
	})
}

func TestAnEndThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.host(func(d *driver) { d.stopErr = launcher.ErrUntrue })
		require.NoError(t, n.Fail("a-1", ""))
		n.after(3 * time.Second)
		require.Equal(t, cluster.PhaseCrashed, n.phase("a-1"))
		_, shown := n.shown("a-1")
		require.False(t, shown, "out of traffic whatever becomes of it")
		n.host(func(d *driver) { d.stopErr = nil })
		n.after(3 * time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		require.Equal(t, 1+2, n.told("a-1").Starts, "of the life before, and what the driver counts; the failure counts once")
	})
}

func TestItsOwnWordThatMoreAreNeeded(t *testing.T) {
	inBubble(t, func(n *node) {
		ask := func() error {
			return n.Ask("a-1", cluster.Ask{More: 2, Reason: "queue", For: cluster.DefaultAsk, At: time.Now()})
		}
		require.ErrorIs(t, ask(), words.ErrUnknown)
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		require.NoError(t, ask())
		n.after(0)
		require.Equal(t, 2, n.told("a-1").Ask.More, "at once")
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		require.ErrorIs(t, ask(), words.ErrSoon)
		n.after(time.Second)
		require.NoError(t, ask())
		n.after(time.Duration(cluster.DefaultAsk) + idle)
		require.Nil(t, n.told("a-1").Ask, "its time is over")
		require.Equal(t, 1, n.starts("a-1"))
	})
}

// Where the number is fixed nobody would hear it, which is said at once; so are asks again when it is not any more.
func TestNoMoreAreAskedForWhereTheirNumberIsFixed(t *testing.T) {
	inBubble(t, func(n *node) {
		ask := func() error {
			return n.Ask("a-1", cluster.Ask{More: 2, For: cluster.DefaultAsk, At: time.Now()})
		}
		fixed := assigned(20000, cluster.WantServing)
		fixed.Fixed = true
		n.assign(wanted{"a-1": fixed})
		writes := len(n.order())
		err := ask()
		require.ErrorIs(t, err, words.ErrFixed)
		require.ErrorContains(t, err, "give service a, in its file, scale: {min, max} in place of replicas")
		n.after(time.Second)
		require.Nil(t, n.told("a-1").Ask)
		require.Equal(t, writes, len(n.order()))
		require.NoError(t, n.Fail("a-1", "no database"), "that it fails is another matter")
		n.after(2 * time.Second)

		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		require.NoError(t, ask())
		n.after(0)
		require.Equal(t, 2, n.told("a-1").Ask.More)
	})
}

// What ended ran by another word than what is wanted now, as after a new version of the launcher or another grace.
func TestWhatEndedDiffers(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.host(func(d *driver) { d.differs = true })
		n.driver.kill("a-1")
		n.after(3 * time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		require.Equal(t, []string{"a-1"}, n.stops())
		require.Equal(t, 2, n.starts("a-1"))
	})
}

// away is a driver that is out of reach.
type away struct{ launcher.Driver }

func (away) List(context.Context) ([]launcher.Status, error) { return nil, errAway }

func (away) Stop(ctx context.Context, _ string, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

// A hook that does not answer keeps nobody from being ended whom it never had.
func TestADriverThatIsAwayHarmsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newDriver(), nil, func(c *Config) { c.Drivers["hook"] = away{} })
		defer n.end()
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing), "a-2": assigned(20001, cluster.WantServing)})
		require.NoError(t, n.Fail("a-1", "out of luck"))
		n.after(time.Second)
		require.Equal(t, 2, n.starts("a-1"))
		n.assign(wanted{"a-1": assigned(20000, cluster.WantStopped), "a-2": assigned(20001, cluster.WantServing)})
		require.Equal(t, cluster.PhaseStopped, n.phase("a-1"))
		require.Equal(t, cluster.PhaseReady, n.phase("a-2"))
	})
}

func TestOneThatIsNeverReadyIsToldOf(t *testing.T) {
	inBubble(t, func(n *node) {
		n.well(20000, false)
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.host(func(d *driver) { d.there["a-1"].Output = []string{"still loading"} })
		n.after(7 * time.Second)
		require.Nil(t, n.told("a-1").Problem)
		n.after(3 * time.Second)
		l := n.told("a-1")
		require.Equal(t, cluster.PhaseStarting, l.Phase)
		require.Equal(t, "it runs, and is not ready after 10s: connection refused", l.Problem.What)
		require.Equal(t, []string{"still loading"}, l.Output)
		writes := len(n.order())
		n.after(time.Minute)
		require.Equal(t, writes, len(n.order()), "once")
		n.well(20000, true)
		n.after(time.Second)
		require.Nil(t, n.told("a-1").Problem)
	})
}

func TestOneThatHasToBeKilledIsToldOf(t *testing.T) {
	inBubble(t, func(n *node) {
		n.host(func(d *driver) { d.slow = 10 * time.Second })
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.assign(wanted{"a-1": assigned(20000, cluster.WantStopped)})
		n.after(10 * time.Second)
		l := n.told("a-1")
		require.Equal(t, cluster.PhaseStopped, l.Phase)
		require.Equal(t, "it did not end within 10s of TERM, and was killed", l.Problem.What)
	})
}
