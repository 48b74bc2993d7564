package leader

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// A third of the largest service is ejected at once, and taken back: of each a few are named.
func TestAReasonNamesAFew(t *testing.T) {
	t.Parallel()
	out := loadmon.Decision{Reason: "every weight is near its target", Ejected: map[string]cluster.Ejection{}}
	for i := range cluster.MaxInstances / 3 {
		id := fmt.Sprintf("%s%03d", strings.Repeat("a", 60), i)
		require.Empty(t, cluster.ValidID(id))
		out.Ejected[id] = cluster.Ejection{Reason: "12 answers in a row took longer than the hard limit, the last 1500 ms"}
	}
	in := loadmon.Decision{Reason: out.Reason}
	for text, want := range map[string]string{
		reason(nil, out): "a000 is ejected: 12 answers in a row",
		reason(&cluster.Weights{Ejected: out.Ejected}, in): "a000 is taken back after its ejection; ",
	} {
		require.Contains(t, text, want)
		require.True(t, strings.HasSuffix(text, "; and so on for 328 more; every weight is near its target"), text)
		require.Less(t, len(text), 1000)
	}
}
