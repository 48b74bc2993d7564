package integration

import (
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

// distribution is the etcd of the distribution, three times.
func distribution(t *testing.T) []string {
	t.Helper()
	binary, err := exec.LookPath("etcd")
	require.NoError(t, err, "make packages installs it")
	return []string{binary, binary, binary}
}

// TestLostMember kills the member that an agent listens to, and one more: no publish is lost while two of three live, and
// none gets through with one.
func TestLostMember(t *testing.T) {
	t.Parallel()
	members := NewMembers(t, MembersOptions{Programs: distribution(t)})
	w := world(t, Options{Members: members})
	f, instances := w.Frontend(cluster.TCP, false), w.ServeAll(3, false)
	w.Publish(Service("a", f, instances[0]))
	w.Only(w.Nodes[0], f, instances[0])
	for i, member := range members.All {
		member.Kill()
		w.Eventually(10*time.Second, "two of three agree on a leader", func() bool { return members.Leader() != nil })
		w.Publish(Service("a", f, instances[(i+1)%3]))
		w.Only(w.Nodes[0], f, instances[(i+1)%3])
		member.Start()
	}
	var leader *Member
	w.Eventually(10*time.Second, "one of them leads", func() bool {
		leader = members.Leader()
		return leader != nil
	})
	for _, member := range members.All {
		if member != leader {
			member.Kill()
		}
	}
	w.Eventually(10*time.Second, "the last one steps down", func() bool { return members.Leader() == nil })
}
