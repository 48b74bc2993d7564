package foreman_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// TestPorts has a node on which somebody else listens at the first port that an instance gets, and a claim that nobody uses, as
// of a leader that died in between. Nothing happens in the cluster meanwhile that would have nodes apply anything.
func TestPorts(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.hosts["n1"].occupy()
	one, two := 1, 2
	l.publish(func(s *cluster.Service) { s.Replicas = &one })
	l.lead("cc1")
	l.until("one serves", are(1))
	l.publish(func(s *cluster.Service) { s.Replicas = &two })
	l.until("on both nodes", func(m map[string][]string) bool { return len(m["n1"]) == 1 && len(m["n2"]) == 1 })
	busy := l.hosts["n1"].occupied()
	require.NotZero(t, busy)
	claims := l.operations().Ports["n1"]
	require.True(t, claims[busy].Busy, "it is noted: %v", claims)
	require.Len(t, claims, 2)

	client, err := l.store.Client()
	require.NoError(t, err)
	_, err = client.Put(t.Context(), l.store.Prefix()+fmt.Sprintf("ops/ports/n1/%d", busy+5), `{"service":"a","id":"a-lost"}`)
	require.NoError(t, err)
	begin := time.Now()
	require.Eventually(t, func() bool { return len(l.operations().Ports["n1"]) == 2 }, soon, 20*time.Millisecond)
	t.Logf("the claim that nobody uses was freed after %s", time.Since(begin).Round(time.Millisecond))
	require.Contains(t, l.operations().Ports["n1"], busy)

	l.publish(func(s *cluster.Service) { s.Replicas = &one })
	l.until("one is left", are(1))
	begin = time.Now()
	require.Eventually(t, func() bool { o := l.operations(); return len(o.Ports["n1"])+len(o.Ports["n2"]) == 2 }, soon, 20*time.Millisecond)
	t.Logf("the port of an instance that went was freed after %s", time.Since(begin).Round(time.Millisecond))
}
