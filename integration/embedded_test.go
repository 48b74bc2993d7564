package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/lab"
)

// startMembers starts control centers that bring the etcd along, each on a host of its own, with TLS between them and for
// clients, and then the agents.
func (w *World) startMembers(t *testing.T) {
	t.Helper()
	a := newAuthority(t)
	var list []string
	for i, name := range memberNames {
		list = append(list, fmt.Sprintf("%s=https://%s:2380", name, w.Instances[i].Addr4))
	}
	for i, name := range memberNames {
		host := w.Instances[i]
		cert, key := a.peer(t, name, host)
		c := w.NewControlCenter(name, host)
		c.Args = []string{
			"controlcenter", "serve", "--name", name, "--listen", c.pages, "--embedded", "--data-dir", filepath.Join(w.Dir, "etcd", name),
			"--initial-cluster", strings.Join(list, ","),
			"--listen-client-urls", fmt.Sprintf("unix://%s,https://%s:2379", w.server.(brought).socket(name), host.Addr4),
			"--cert-file", cert, "--key-file", key, "--trusted-ca-file", a.path("ca.pem"),
			"--peer-cert-file", cert, "--peer-key-file", key, "--peer-trusted-ca-file", a.path("ca.pem"),
		}
		w.ControlCenters = append(w.ControlCenters, c)
		t.Cleanup(c.finish)
		c.Start()
	}
	w.AwaitLeader(30 * time.Second)
	for _, a := range w.Agents {
		a.Start()
	}
	w.AwaitAgents(len(w.Agents))
}

// leadingMember is the member that leads the etcd.
func (w *World) leadingMember(t *testing.T) string {
	t.Helper()
	var name string
	w.Eventually(20*time.Second, "the members agree on a leader", func() bool {
		d, err := w.Store.Diagnose(t.Context())
		if err != nil {
			return false
		}
		for _, m := range d.Members {
			if !slices.ContainsFunc(d.Endpoints, func(e etcd.Endpoint) bool { return e.Leader != m.ID }) {
				name = m.Name
			}
		}
		return name != ""
	})
	return name
}

// TestControlCentersAreTheEtcd kills the control center that leads and is the leader of etcd, too: another one leads, publishing
// goes on, traffic does not notice. The killed one comes back from its data. With two killed nothing is published, and
// traffic goes on all the same.
func TestControlCentersAreTheEtcd(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Brought: true, Instances: 4, AgentArgs: LoadsForAll})
	w.startMembers(t)
	instance, _ := w.Serve(w.Instances[3], 80, false)
	other, _ := w.Serve(w.Instances[3], 81, false)
	f := w.Frontend(cluster.TCP, false)
	w.Publish(Service("a", f, instance))
	w.Only(w.Client, f, instance)
	probing := Load(f, 0)
	probing.Workers, probing.Pause = 2, 2*time.Millisecond
	probe, err := lab.StartProbe(w.Client.Namespace, probing)
	require.NoError(t, err)

	leader := w.AwaitLeader(10 * time.Second)
	w.moveLeader(t, leader.Name)
	begin := time.Now()
	leader.Kill()
	w.Publish(Service("a", f, instance, other))
	published := time.Since(begin)
	heir := w.AwaitLeader(20 * time.Second)
	t.Logf("killed the leader of both: published again after %s, led again after %s", published.Round(time.Millisecond), time.Since(begin).Round(time.Millisecond))
	require.NotEqual(t, leader.Name, heir.Name)
	require.Less(t, published, 10*time.Second)
	w.Only(w.Client, f, instance, other)

	leader.Start()
	leader.AwaitReady(30 * time.Second)
	for _, c := range w.ControlCenters {
		if c.Name != leader.Name {
			c.Kill()
			w.Publish(Service("a", f, instance)) // by the one that came back, and another
			c.Start()
			c.AwaitReady(30 * time.Second)
			w.Publish(Service("a", f, instance, other))
		}
	}
	got, err := probe.Stop()
	require.NoError(t, err)
	require.Zero(t, got.Failed, "%s", got)
}

// moveLeader makes one member the leader of etcd, if it is not.
func (w *World) moveLeader(t *testing.T, to string) {
	t.Helper()
	d, err := w.Store.Diagnose(t.Context())
	require.NoError(t, err)
	at := slices.IndexFunc(d.Members, func(m etcd.Member) bool { return m.Name == to })
	require.GreaterOrEqual(t, at, 0)
	w.Eventually(20*time.Second, to+" leads etcd", func() bool {
		from := w.leadingMember(t)
		if from == to {
			return true
		}
		if err := move(t, "unix://"+w.server.(brought).socket(from), d.Members[at].ID); err != nil {
			t.Logf("move the leader from %s to %s: %v", from, to, err) // another one may lead by now
		}
		return false
	})
}

func move(t *testing.T, endpoint string, to uint64) error {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	require.NoError(t, err)
	defer c.Close()
	_, err = c.MoveLeader(t.Context(), to)
	return err
}
