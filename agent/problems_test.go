package agent

import (
	"testing"

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
