package placement

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// TestALauncherThatComesBeforeItsAgent orders no second machine, and has the first not given back.
func TestALauncherThatComesBeforeItsAgent(t *testing.T) {
	t.Parallel()
	w := cloud(t, 3)
	w.boots = 0
	w.offer(&cluster.NodeOffer{Most: 3, Capacity: w.boot, Idle: cluster.Duration(10 * time.Second)})
	w.publish("a", 4, ofOneCPU)
	w.seconds(5)
	name := w.machinesOf(cluster.WantServing)[0]
	w.joins(name, false)
	w.seconds(30)
	require.Equal(t, []string{name}, w.machinesOf(cluster.WantServing))
	require.Equal(t, 2, w.serving("a"))
	w.ops.Alive[name] = true
	w.seconds(10)
	require.Equal(t, 4, w.serving("a"))
	require.Equal(t, 1, w.told("acquired"))
	require.Zero(t, w.told("returned"))
}

// One whose agent does not come is of no use: another is acquired, and it goes back.
func TestALauncherWithoutAnAgent(t *testing.T) {
	t.Parallel()
	w := cloud(t, 3)
	w.boots = 0
	w.offer(&cluster.NodeOffer{Most: 3, Capacity: w.boot, Idle: cluster.Duration(2 * time.Minute)})
	w.publish("a", 4, ofOneCPU)
	w.seconds(5)
	name := w.machinesOf(cluster.WantServing)[0]
	w.joins(name, false)
	w.seconds(90)
	require.Len(t, w.machinesOf(cluster.WantServing), 2)
	w.seconds(45)
	require.NotContains(t, w.machinesOf(cluster.WantServing), name)
	require.Equal(t, 1, w.told("goes back to the hook of node n1: nothing has run on it for 2m0s"))
}

// The time after which an empty machine goes back is not that which it needs to start.
func TestAMachineIsNotEmptyBeforeItJoins(t *testing.T) {
	t.Parallel()
	w := cloud(t, 3)
	w.offer(&cluster.NodeOffer{Most: 3, Capacity: w.boot, Idle: cluster.Duration(10 * time.Second)}) // it needs 30 s
	w.publish("a", 4, ofOneCPU)
	w.seconds(25)
	w.publish("a", 0, nil) // nobody needs it any more
	w.seconds(10)
	require.Len(t, w.machinesOf(cluster.WantServing), 1, "it has just joined")
	w.publish("a", 4, nil)
	w.seconds(60)
	require.Equal(t, 4, w.serving("a"))
	require.Equal(t, 1, w.told("acquired"))
}

// TestAMachineThatIsNeededAtTheLastMoment is not given back by the same decision that places an instance on it.
func TestAMachineThatIsNeededAtTheLastMoment(t *testing.T) {
	t.Parallel()
	empty := func() *world {
		w := cloud(t, 1)
		w.publish("a", 3, ofOneCPU)
		w.seconds(60)
		w.publish("a", 0, nil)
		return w
	}
	w, last := empty(), 0
	for ; w.told("goes back") == 0; last++ {
		require.Less(t, last, 20*60)
		w.second()
	}
	w = empty()
	w.seconds(last - 1)
	w.publish("a", 3, nil)
	w.seconds(20)
	require.Equal(t, 3, w.serving("a"))
	require.Zero(t, w.told("goes back"))
}
