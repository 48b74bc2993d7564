package chaos

import (
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
)

func leaderKilled(r *run) {
	m := r.members(3)
	w := r.world(integration.Options{Members: m})
	p, f := r.probe(w), w.Frontend(cluster.TCP, false)
	for round := range 3 {
		leader := r.leader(m)
		writer := r.through(w, m, leader)
		leader.Kill()
		began := time.Now()
		revision := writer.Write(integration.Service("written", f, p.addresses[round]))
		r.most("write_outage_s", seconds(began))
		writer.Await(revision, "written")
		w.Only(w.Nodes[0], f, p.addresses[round])
		leader.Start()
	}
	p.more(100)
	p.unharmed()
	require.Less(r, r.line.Figures["write_outage_s"], 8.0)
}

// leaderFrozen writes through the frozen leader and through another member. When it goes on, it still believes that it
// leads: what it says of the past must not reach a kernel.
func leaderFrozen(r *run) {
	m := r.members(3)
	w := r.world(integration.Options{Members: m})
	p, f := r.probe(w), w.Frontend(cluster.TCP, false)
	w.Publish(integration.Service("written", f, p.addresses[0]))
	leader := r.leader(m)
	slow := r.through(w, m, leader)
	leader.Freeze()
	began := time.Now()
	w.Eventually(15*time.Second, "the others elect one of them", func() bool { return m.Leader() != nil })
	other := r.through(w, m, m.Leader())
	other.Write(integration.Service("written", f, p.addresses[1]))
	r.figure("write_outage_s", seconds(began))
	slowBegan := time.Now()
	revision := slow.Write(integration.Service("written", f, p.addresses[2]))
	r.figure("write_through_frozen_s", seconds(slowBegan))
	other.Await(revision, "written")
	<-time.After(time.Until(began.Add(10 * time.Second))) // the fault itself
	leader.Thaw()
	r.figure("stale_applied", float64(r.fallsBelow(w, revision, 3*time.Second)))
	w.Only(w.Nodes[0], f, p.addresses[2])
	p.unharmed()
	require.Less(r, r.line.Figures["write_outage_s"], 5.0)
	require.Less(r, r.line.Figures["write_through_frozen_s"], 7.0)
	require.Zero(r, r.line.Figures["stale_applied"])
}

// fallsBelow watches for a while how often a kernel holds less than a revision.
func (r *run) fallsBelow(w *integration.World, revision int64, window time.Duration) (times int) {
	r.Helper()
	for begin := time.Now(); time.Since(begin) < window; {
		for _, a := range w.Agents {
			if a.Metric("weir_agent_revision") < float64(revision) {
				times++
			}
		}
	}
	return times
}

// memberFrozen freezes the member that an agent listens to, at moments that have nothing to do with its beat.
func memberFrozen(r *run) {
	m := r.members(3)
	w := r.world(integration.Options{Members: m, Nodes: 1})
	p, f, a := r.probe(w), w.Frontend(cluster.TCP, false), w.Agents[0]
	for round := range 4 {
		var serving *integration.Member
		w.Eventually(10*time.Second, "one member serves the agent", func() bool {
			watches := 0
			for _, member := range m.All {
				if n := member.Watches(); n > 0 {
					serving, watches = member, watches+n
				}
			}
			return watches == 1
		})
		other := m.All[slices.IndexFunc(m.All, func(member *integration.Member) bool { return member != serving })]
		writer := r.through(w, m, other)
		<-time.After(rand.N(2 * time.Second)) // some moment between two beats
		serving.Freeze()
		began := time.Now()
		revision := writer.Write(integration.Service("written", f, p.addresses[round%3]))
		a.AwaitRevision(revision, 30*time.Second)
		r.detected(time.Since(began))
		w.Only(w.Nodes[0], f, p.addresses[round%3])
		serving.Thaw()
	}
	p.unharmed()
	require.LessOrEqual(r, r.line.Detect, 6000.0)
}

func quorumLost(r *run) {
	const outage = 45 * time.Second
	m := r.members(3)
	w := r.world(integration.Options{Members: m})
	p, f := r.probe(w), w.Frontend(cluster.TCP, false)
	m.All[0].Kill()
	m.All[1].Kill()
	began := time.Now()
	said, code := r.weir(w, "controlcenter", "publish", "lost", "--vip", f.String(), "--instance", p.addresses[0], "--timeout", "8s")
	require.Equal(r, 5, code, said)
	require.Contains(r, said, "etcd cannot be reached")
	for _, a := range w.Agents {
		w.Eventually(20*time.Second, "the agent says so", func() bool {
			code, body := a.Get("/readyz")
			return code == http.StatusServiceUnavailable && strings.Contains(body, "the last rules are kept")
		})
	}
	r.detected(time.Since(began))
	<-time.After(time.Until(began.Add(outage)))
	p.more(1000)
	m.All[0].Start()
	began = time.Now()
	m.All[1].Start()
	w.Publish(integration.Service("back", f, p.addresses[0]))
	for _, a := range w.Agents {
		a.AwaitReady(20 * time.Second)
	}
	r.figure("t_resume_s", seconds(began))
	w.Only(w.Nodes[0], f, p.addresses[0])
	p.unharmed()
	require.Less(r, r.line.Figures["t_resume_s"], 15.0)
}

// versions runs one life of a service on three members of the distribution's etcd, and of the version that we embed.
func versions(r *run) {
	embedded := filepath.Join(r.TempDir(), "etcd")
	require.NoError(r, integration.BuildEtcd(embedded))
	debian, err := exec.LookPath("etcd")
	require.NoError(r, err)
	for _, program := range []string{debian, embedded} {
		m := integration.NewMembers(r, integration.MembersOptions{Programs: slices.Repeat([]string{program}, 3)})
		w := r.world(integration.Options{Members: m, Nodes: 1})
		p, f := r.probe(w), w.Frontend(cluster.TCP, false)
		w.Publish(integration.Service("lived", f, p.addresses[:2]...))
		w.Drain("lived", p.addresses[0], true)
		w.Only(w.Nodes[0], f, p.addresses[1])
		said, code := r.weir(w, "controlcenter", "publish", "other", "--vip", f.String(), "--instance", p.addresses[0])
		require.Equal(r, 4, code, said)
		r.leader(m).Kill()
		w.Publish(integration.Service("lived", f, p.addresses[2]))
		w.Only(w.Nodes[0], f, p.addresses[2])
		w.Withdraw("lived")
		require.NotContains(r, w.Slots(w.Nodes[0]), f)
		p.unharmed()
		r.figure("versions_passed", r.line.Figures["versions_passed"]+1)
	}
}
