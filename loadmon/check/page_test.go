package check

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestWriteChecks(t *testing.T) {
	t.Parallel()
	_, a := server(t, host+":0")
	id := ID{"b", a.String()}
	c := running(t, Options{}, world(service("a", nil, mineAt), service("b", tcp(), a)).Snapshot(1))
	checked(t, c, id, 1)
	require.NoError(t, c.Tell(mine, Word{State: Leave}))
	becomes(t, c, mine, cluster.Leaving)
	var out strings.Builder
	require.NoError(t, c.WriteChecks(&out))
	rows := strings.Split(out.String(), "\n")
	require.Len(t, rows, 4)
	require.Regexp(t, `^SERVICE +INSTANCE +CHECK +TO +VERDICT +SINCE +CHECKS +FAILED +IN ROW +MS +REASON$`, rows[0])
	require.Regexp(t, `^a +192.168.70.1:80 +kernel +192.168.70.1:80 +leaving +20[-:TZ0-9]+ +0 +0 +0 +0.0 +it asks for no new connections itself$`, rows[1])
	require.Regexp(t, `^b +\S+ +tcp +192.168.70.1:\d+ +well +- +[1-9]\d* +0 +0 +[0-9.]+ +$`, rows[2])
}
