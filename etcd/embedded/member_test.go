package embedded

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/weir-lb/weir/internal/lab"
)

// three members that listen on loopback.
func three(t *testing.T) []Member {
	t.Helper()
	members := make([]Member, 3)
	var list []Peer
	for i, name := range []string{"a", "b", "c"} {
		list = append(list, Peer{name, "http://" + lab.Loopback().String()})
		members[i] = Member{Name: name, Dir: t.TempDir(), Clients: []string{"http://" + lab.Loopback().String()}, NoSync: true, Logger: slog.New(slog.DiscardHandler)}
	}
	for i := range members {
		members[i].Cluster = list
	}
	return members
}

// running is a member with its Run.
type running struct {
	*Server
	ended chan error
	stop  context.CancelFunc
}

func begin(t *testing.T, m Member) *running {
	t.Helper()
	s, err := m.Start(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{s, make(chan error, 1), cancel}
	go func() { r.ended <- s.Run(ctx) }()
	t.Cleanup(func() { cancel(); s.Close() })
	return r
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	require.NoError(t, <-r.ended, "a run that is cancelled")
	r.Close()
}

func write(t *testing.T, endpoint, value string) (before string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r, err := c.Put(ctx, "k", value, clientv3.WithPrevKV())
		if err == nil && r.PrevKv != nil {
			before = string(r.PrevKv.Value)
		}
		return err == nil
	}, 30*time.Second, 50*time.Millisecond)
	return before
}

// One of three ends, and the others go on; it comes back from its directory, also when its list is older than the members.
func TestThreeMembersAreOneEtcd(t *testing.T) {
	t.Parallel()
	members := three(t)
	a, b := begin(t, members[0]), begin(t, members[1])
	c := begin(t, members[2])
	write(t, a.Endpoint(), "1")
	require.Eventually(t, func() bool { return a.Ready() == nil }, 30*time.Second, 50*time.Millisecond) // it may be electing anew
	c.end(t)
	require.Equal(t, "1", write(t, b.Endpoint(), "2"))
	again := members[2]
	again.Cluster = []Peer{members[0].Cluster[0], {"x", "http://127.0.0.1:1"}, members[2].Cluster[2]}
	c = begin(t, again)
	require.Equal(t, "2", write(t, c.Endpoint(), "3"))

	_, err := members[1].Start(t.Context())
	require.ErrorIs(t, err, ErrInUse, "a second process")
	b.end(t)
	thief := members[1]
	thief.Name, thief.Cluster = "b2", []Peer{members[0].Cluster[0], {"b2", members[1].Cluster[1].URL}, members[2].Cluster[2]}
	_, err = thief.Start(t.Context())
	require.ErrorContains(t, err, "is that of member b, and this is b2")
	lost := members[1]
	lost.Dir = t.TempDir()
	_, err = lost.Start(t.Context())
	require.ErrorContains(t, err, "knows b from before, but "+lost.Dir+" is empty")
	require.ErrorContains(t, err, "--initial-cluster-state existing")
	stranger := members[1]
	stranger.Dir = t.TempDir()
	stranger.Cluster = []Peer{members[0].Cluster[0], {"b", "http://127.0.0.1:9"}, members[2].Cluster[2]}
	_, err = stranger.Start(t.Context())
	require.ErrorContains(t, err, "has another list of members")
	require.ErrorContains(t, err, "the same --initial-cluster")
	a.end(t)
	foreign := members[0]
	foreign.Cluster = []Peer{foreign.Cluster[0], {"x", "http://127.0.0.1:9"}, {"y", "http://127.0.0.1:10"}}
	_, err = foreign.Start(t.Context())
	require.ErrorContains(t, err, "belongs to another cluster")
}

// Members that have never been up wait for each other; when they turn out to have different lists they say so.
func TestMembersThatDisagreeDoNotWaitForEver(t *testing.T) {
	t.Parallel()
	members := three(t)
	a := begin(t, members[0])
	require.ErrorContains(t, a.Ready(), "waits for other members")
	wrong := members[1]
	wrong.Cluster = []Peer{members[0].Cluster[0], members[1].Cluster[1], {"d", "http://127.0.0.1:9"}}
	b := begin(t, wrong)
	for _, r := range []*running{a, b} {
		require.ErrorContains(t, <-r.ended, "has another list of members")
	}
}

func TestATakenAddressIsNamed(t *testing.T) {
	t.Parallel()
	for _, peers := range []bool{true, false} {
		m := three(t)[0]
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer taken.Close()
		if url := "http://" + taken.Addr().String(); peers {
			m.Peers = url
		} else {
			m.Clients = []string{url}
		}
		_, err = m.Start(t.Context())
		require.ErrorContains(t, err, taken.Addr().String())
		require.ErrorContains(t, err, "another program listens there")
	}
}

func TestAMemberAloneHasNoPeers(t *testing.T) {
	t.Parallel()
	m := three(t)[0]
	m.Cluster = nil
	s := begin(t, m)
	write(t, s.Endpoint(), "1")
	s.end(t)
	s = begin(t, m)
	require.Equal(t, "1", write(t, s.Endpoint(), "2"))
}

func TestMemberCheck(t *testing.T) {
	t.Parallel()
	tls := Files{"c", "k", "ca"}
	remote := []Peer{{"a", "https://10.0.0.1:2380"}, {"b", "https://10.0.0.2:2380"}, {"c", "https://10.0.0.3:2380"}}
	good := Member{Name: "a", Dir: "d", Cluster: remote, Clients: []string{"https://10.0.0.1:2379"}, ClientTLS: tls, PeerTLS: tls}
	require.NoError(t, good.Check())
	for name, test := range map[string]struct {
		change func(*Member)
		want   string // "": nothing is wrong
		open   bool
	}{
		"loopback by http": {func(m *Member) { m.Clients, m.ClientTLS = []string{"http://127.0.0.1:2379"}, Files{} }, "", false},
		"unix":             {func(m *Member) { m.Clients, m.ClientTLS = []string{"unix:///run/x"}, Files{} }, "", false},
		"http for clients": {func(m *Member) { m.Clients, m.ClientTLS = []string{"http://10.0.0.1:2379"}, Files{} }, "listens for clients by plain http", true},
		"http by name":     {func(m *Member) { m.Clients, m.ClientTLS = []string{"http://etcd:2379"}, Files{} }, "plain http", true},
		"everywhere": {func(m *Member) {
			m.Clients, m.ClientTLS, m.Advertise = []string{"http://0.0.0.0:2379"}, Files{}, []string{"http://10.0.0.1:2379"}
		}, "plain http", true},
		"clients without certificate": {func(m *Member) { m.ClientTLS.CA = "" }, "lets in clients that show no certificate", true},
		"peers without certificate":   {func(m *Member) { m.PeerTLS.CA = "" }, "lets in peers", true},
		"http between peers": {func(m *Member) {
			m.PeerTLS, m.Cluster = Files{}, []Peer{{"a", "http://10.0.0.1:2380"}, {"b", "http://10.0.0.2:2380"}}
		}, "listens for peers by plain http", true},
		"clients by the user's wish": {func(m *Member) { m.ClientTLS.CA, m.Insecure = "", true }, "", false},
		"by the user's wish": {func(m *Member) {
			m.Insecure, m.PeerTLS, m.ClientTLS, m.Clients = true, Files{}, Files{}, []string{"http://10.0.0.1:2379"}
			m.Cluster = []Peer{{"a", "http://10.0.0.1:2380"}, {"b", "http://10.0.0.2:2380"}}
		}, "", false},
		"peer listener apart": {func(m *Member) { m.Peers = "http://0.0.0.0:2380" }, "listens for peers by plain http", true},
		"no key":              {func(m *Member) { m.ClientTLS.Key = "" }, "needs a certificate and its key", false},
		"certificates unused": {func(m *Member) { m.Clients = []string{"http://127.0.0.1:2379"} }, "would not be used", false},
		"told 0.0.0.0":        {func(m *Member) { m.Clients = []string{"https://0.0.0.0:2379"} }, "--advertise-client-urls", false},
		"clients nowhere":     {func(m *Member) { m.Clients = nil }, "needs a URL", false},
		"here without":        {func(m *Member) { m.Clients = append(m.Clients, "http://127.0.0.1:2379") }, "", false},
		"there without":       {func(m *Member) { m.Clients = append(m.Clients, "http://10.0.0.1:2378") }, "plain http", true},
		"no name":             {func(m *Member) { m.Name = "" }, "needs a name", false},
		"not in the list":     {func(m *Member) { m.Name = "d" }, "d is not in the list of members a=https://10.0.0.1:2380,b=", false},
		"no directory":        {func(m *Member) { m.Dir = "" }, "data directory", false},
		"twice":               {func(m *Member) { m.Cluster = append(remote[:3:3], remote[0]) }, "in the list of members twice", false},
		"same URL":            {func(m *Member) { m.Cluster = []Peer{remote[0], {"b", remote[0].URL}} }, "have the same URL", false},
		"two kinds":           {func(m *Member) { m.Cluster = []Peer{remote[0], {"b", "http://10.0.0.2:2380"}} }, "use one kind", false},
		"some on loopback":    {func(m *Member) { m.Cluster = []Peer{remote[0], {"b", "https://127.0.0.1:2380"}} }, "on loopback", false},
		"no URL":              {func(m *Member) { m.Cluster = []Peer{{"a", "10.0.0.1:2380"}} }, "the peer URL of a", false},
		"a path":              {func(m *Member) { m.Clients = []string{"https://10.0.0.1:2379/x"} }, "want http://HOST:PORT", false},
		"no port":             {func(m *Member) { m.Clients = []string{"https://10.0.0.1"} }, "want http://HOST:PORT", false},
	} {
		m := good
		test.change(&m)
		err := m.Check()
		if test.want == "" {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorContains(t, err, test.want, name)
		require.Equal(t, test.open, errors.Is(err, ErrExposed), "%s: %v", name, err)
		_, err = m.Start(t.Context())
		require.Error(t, err, name)
	}
}

func TestParseCluster(t *testing.T) {
	t.Parallel()
	got, err := ParseCluster("b=http://127.0.0.1:2, a=http://127.0.0.1:1/")
	require.NoError(t, err)
	require.Equal(t, []Peer{{"b", "http://127.0.0.1:2"}, {"a", "http://127.0.0.1:1"}}, got)
	require.Equal(t, "a=http://127.0.0.1:1,b=http://127.0.0.1:2", initialCluster(got))
	for _, text := range []string{"", "a", "a=", "=http://127.0.0.1:1", "a=http://127.0.0.1:1,", "a=x,,b=y"} {
		_, err := ParseCluster(text)
		require.Error(t, err, text)
	}
}
