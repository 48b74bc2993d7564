package agent

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestMissingIn(t *testing.T) {
	a, b, c, d := cluster.Problem{Object: "a"}, cluster.Problem{Object: "b"}, cluster.Problem{Object: "c"}, cluster.Problem{Object: "d"}
	for _, tt := range []struct{ list, of, want []cluster.Problem }{
		{nil, nil, nil},
		{nil, []cluster.Problem{a, b}, []cluster.Problem{a, b}},
		{[]cluster.Problem{a, b}, nil, nil},
		{[]cluster.Problem{a, c}, []cluster.Problem{a, b, c, d}, []cluster.Problem{b, d}},
		{[]cluster.Problem{a, b, c}, []cluster.Problem{c}, nil},
		{[]cluster.Problem{b}, []cluster.Problem{a, a, b, b}, []cluster.Problem{a, a}},
	} {
		require.Equal(t, tt.want, missingIn(tt.list, tt.of))
	}
}

// What other parts of the process complain of is reported soon, and taken back.
func TestProblemsBeside(t *testing.T) {
	h := newHistory().service(1, 2)
	var beside atomic.Pointer[[]cluster.Problem]
	beside.Store(&[]cluster.Problem{})
	inBubble(t, func(_ *node, c *Config) { c.Beside = func() []cluster.Problem { return *beside.Load() } }, func(n *node) {
		n.deliver(h.snapshot())
		n.after(10 * time.Second)
		told := func() []cluster.Problem { all := n.store.told(); return all[len(all)-1].Problems }
		require.Empty(t, told())
		complaint := cluster.Problem{Object: "service a", What: "cannot be checked"}
		beside.Store(&[]cluster.Problem{complaint})
		n.after(3 * time.Second)
		require.Equal(t, []cluster.Problem{complaint}, told())
		beside.Store(&[]cluster.Problem{})
		n.after(3 * time.Second)
		require.Empty(t, told())

		// One that comes and goes between two looks, and is told all the same since a pass came in between.
		n.after(besideEvery / 4) // after a look
		beside.Store(&[]cluster.Problem{complaint})
		n.deliver(h.service(2, 2).snapshot())
		n.after(10 * time.Millisecond)
		require.Equal(t, []cluster.Problem{complaint}, told())
		beside.Store(&[]cluster.Problem{})
		n.after(3 * time.Second)
		require.Empty(t, told())
	})
}
