package cluster

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestComplaintsAreBounded(t *testing.T) {
	t.Parallel()
	var many []Problem
	for i := range 1000 {
		many = append(many, Problem{Object: fmt.Sprintf("service s%03d", i)})
	}
	require.Equal(t, Loadmon{Problems: many[:20]}, Complaining(many[:20]))
	told := Complaining(many)
	require.Equal(t, Loadmon{Problems: many[:20], ProblemCount: 1000}, told)
	require.Equal(t, []int{0, 20, 1000}, []int{Loadmon{}.Count(), Complaining(many[:20]).Count(), told.Count()})
	require.True(t, told.Same(Complaining(many)))
	require.False(t, told.Same(Complaining(many[:999])), "how many there are is part of it")
	require.False(t, told.Same(Complaining(many[1:])))
	require.True(t, Complaining(nil).Same(Loadmon{}))
}
