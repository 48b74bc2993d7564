package keep

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
)

// crashOf is what is told of the last end; the time of it is asked for by another way.
func (n *node) crashOf(id string) (c cluster.Crash, at time.Time) {
	if told := n.told(id).Crash; told != nil {
		c = *told
	}
	at, c.At = c.At, time.Time{}
	return c, at
}

// How an instance ended stays told when it is ready again: who looks then has to find it.
func TestACrashIsToldOfWhenItIsOver(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		require.Nil(t, n.told("a-1").Crash)
		begin := time.Now()
		n.driver.kill("a-1")
		n.host(func(d *driver) { d.there["a-1"].Output = []string{"going on", "out of\tluck\x1b[2J", " "} })
		n.after(3 * time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		first, at := n.crashOf("a-1")
		require.Equal(t, cluster.Crash{How: "exit code 3", Output: `out of luck\x1b[2J`, Count: 1}, first, "started again at once")
		require.True(t, at.Equal(begin), "%s, not %s", at, begin)

		n.driver.kill("a-1")
		n.host(func(d *driver) { d.there["a-1"].Output = []string{strings.Repeat("x", 10000)} })
		n.after(5 * time.Second)
		require.Equal(t, cluster.PhaseReady, n.phase("a-1"))
		second, later := n.crashOf("a-1")
		require.LessOrEqual(t, len(second.Output), lastLine)
		second.Output = ""
		require.Equal(t, cluster.Crash{How: "exit code 3", Pause: cluster.Duration(time.Second), Count: 2}, second)
		require.True(t, later.After(at))
		writes := len(n.order())
		n.after(5 * time.Minute)
		require.Equal(t, writes, len(n.order()), "once")
	})
}

func TestItsOwnWordIsToldAsACrash(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.host(func(d *driver) { d.there["a-1"].Output = []string{"out of handles"} })
		n.after(time.Second)
		require.NoError(t, n.Fail("a-1", "no database"))
		n.after(3 * time.Second)
		got, _ := n.crashOf("a-1")
		require.Equal(t, cluster.Crash{How: "it says that it fails: no database", Output: "out of handles", Count: 1}, got)
		n.driver.kill("a-1")
		n.after(5 * time.Second)
		got, _ = n.crashOf("a-1")
		require.Equal(t, cluster.Crash{How: "exit code 3", Output: "out of luck", Pause: cluster.Duration(time.Second), Count: 1 + 2}, got, "of the life before, and what the driver counts")
	})
}

// Where the driver knows of no end, what it complains of is told, once.
func TestOneThatVanishesIsToldOf(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.driver.kill("a-1")
		n.after(3 * time.Second)
		_, before := n.crashOf("a-1")
		n.host(func(d *driver) {
			st := *d.there["a-1"]
			st.State, st.Problems = launcher.Exited, []cluster.Problem{{Object: "instance a-1", What: "its shim was killed"}}
			d.there["a-1"] = &st
		})
		n.after(3 * time.Second)
		require.Equal(t, 3, n.starts("a-1"))
		got, at := n.crashOf("a-1")
		require.Equal(t, cluster.Crash{How: "its shim was killed", Count: 2}, got)
		require.True(t, at.After(before))
	})
}

// An instance that somebody else runs is not started again, so it did not crash.
func TestOneOfSomebodyElseDoesNotCrash(t *testing.T) {
	inBubble(t, func(n *node) {
		n.assign(wanted{"a-1": assigned(20000, cluster.WantServing)})
		n.host(func(d *driver) {
			st := *d.there["a-1"]
			st.State = launcher.Absent
			d.there["a-1"] = &st
		})
		n.after(3 * time.Second)
		require.Nil(t, n.told("a-1").Crash)
	})
}

// A launcher that ended before it could tell of a crash is not alone in knowing of it, and what it has told is the same end.
func TestACrashIsToldByTheNextLauncher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver()
		first := newNode(t, d, nil)
		all := wanted{"a-1": assigned(20000, cluster.WantServing), "a-2": assigned(20001, cluster.WantServing)}
		first.assign(all)
		for range 2 {
			d.kill("a-1")
			first.after(4 * time.Second)
		}
		told, at := first.crashOf("a-1")
		require.Equal(t, 2, told.Count)
		d.kill("a-2")
		first.end()

		second := newNode(t, d, nil)
		defer second.end()
		second.assign(all)
		second.after(3 * time.Second)
		again, same := second.crashOf("a-1")
		require.True(t, same.Equal(at), "the same end, as nobody knows it for a new one by anything else")
		require.Equal(t, []any{told.How, told.Count}, []any{again.How, again.Count})
		require.Positive(t, again.Pause)
		missed, _ := second.crashOf("a-2")
		require.Equal(t, cluster.Crash{How: "exit code 3", Output: "out of luck", Count: 1}, missed)
	})
}
