package etcd

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd/embedded"
	"github.com/weir-lb/weir/internal/testcerts"
)

func diagnose(t *testing.T, s *Store) *Diagnosis {
	t.Helper()
	d, err := s.Diagnose(t.Context())
	require.NoError(t, err)
	return d
}

func TestDiagnose(t *testing.T) {
	t.Parallel()
	e := server(t)
	s := open(t, e.Endpoint(), "http://127.0.0.1:1")
	publish(t, s, svc("a", 1))
	d := diagnose(t, s)
	require.Len(t, d.Endpoints, 2)
	well, away := d.Endpoints[0], d.Endpoints[1]
	require.NoError(t, well.Err)
	require.True(t, well.Given && well.Local && !well.HTTPS)
	require.Equal(t, "3.7.3", well.Version)
	require.NotZero(t, well.Leader)
	require.Equal(t, well.Leader, well.Member)
	require.Positive(t, well.Size)
	require.EqualValues(t, 2<<30, well.Quota)
	require.Empty(t, well.Alarms)
	require.Error(t, away.Err)
	require.NoError(t, d.MembersErr)
	require.Len(t, d.Members, 1)
	require.False(t, d.Access.Enabled)
	require.NoError(t, d.Access.Err)
	require.WithinDuration(t, time.Now(), d.BarrierAt, time.Minute)

	require.NoError(t, d.HistoryErr)
	require.Zero(t, d.History.Compacted)
	c := raw(t, s)
	_, err := c.Compact(t.Context(), d.History.Revision)
	require.NoError(t, err)
	require.Equal(t, History{d.History.Revision, d.History.Revision}, diagnose(t, s).History)
}

func TestDiagnoseNobody(t *testing.T) {
	t.Parallel()
	s := openAs(t, Config{Endpoints: []string{"http://127.0.0.1:1"}, DialTimeout: 100 * time.Millisecond})
	d, err := s.Diagnose(t.Context())
	require.ErrorIs(t, err, cluster.ErrUnreachable)
	require.Error(t, d.Endpoints[0].Err)
}

func TestDiagnoseAlarm(t *testing.T) {
	t.Parallel()
	e, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", NoSync: true, WeakHashes: true, QuotaBytes: 4 << 20})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	s := open(t, e.Endpoint())
	for i := 0; err == nil; i++ {
		require.Less(t, i, 100)
		_, err = raw(t, s).Put(t.Context(), fmt.Sprint("/filler/", i), strings.Repeat("x", 512<<10))
	}
	found := diagnose(t, s).Endpoints[0]
	require.Len(t, found.Alarms, 1)
	require.Contains(t, found.Alarms[0], "NOSPACE")
	require.EqualValues(t, 4<<20, found.Quota)
	require.Greater(t, found.Size, found.Quota/2)
}

func TestDiagnoseCertificates(t *testing.T) {
	t.Parallel()
	ca, dir := testcerts.New(t, "ca"), t.TempDir()
	served := &tls.Config{NextProtos: []string{"h2"}, Certificates: []tls.Certificate{ca.Issue(t, etcdItself)}, MinVersion: tls.VersionTLS12}
	p := forwardTLS(t, served, server(t).Endpoint())
	endpoint := "https://" + p.Addr().String()
	c := Config{Endpoints: []string{endpoint}, CA: filepath.Join(dir, "ca"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key")}
	keep(t, c, ca, ca.Issue(t, testcerts.Of{Name: "weir-node-n1", Ends: 24 * time.Hour}))
	d := diagnose(t, openAs(t, c))
	until := map[string]time.Duration{}
	for _, cert := range d.Certificates {
		until[cert.Whose+" "+cert.Subject] = time.Until(cert.NotAfter).Round(time.Hour)
	}
	require.Equal(t, map[string]time.Duration{
		"server " + endpoint + " CN=etcd":            48 * time.Hour,
		"CA file " + c.CA + " CN=ca":                 time.Hour,
		"client file " + c.Cert + " CN=weir-node-n1": 24 * time.Hour,
	}, until)
	require.True(t, d.Endpoints[0].HTTPS)
	require.Equal(t, "weir-node-n1", d.Access.Self)
}

func TestAccess(t *testing.T) {
	t.Parallel()
	endpoint, as := secured(t)
	root := as("root")
	all := root.Access(t.Context())
	require.NoError(t, all.Err)
	require.True(t, all.Enabled && all.All)
	require.Len(t, all.Users, 6)
	require.Equal(t, []string{"weir-node-n1"}, all.Users["weir-node-n1"])
	for name := range all.Users {
		if role, known := RoleNamed(name); known {
			require.Empty(t, Excess(all.Roles[name], role.Spans(root.prefix)), name)
			require.Empty(t, Excess(role.Spans(root.prefix), all.Roles[name]), name)
		}
	}

	_, err := raw(t, root).RoleGrantPermission(t.Context(), "weir-node-n1", root.prefix+"net/", root.prefix+"net0", clientv3.PermissionType(clientv3.PermReadWrite))
	require.NoError(t, err)
	own := as("weir-node-n1").Access(t.Context())
	require.NoError(t, own.Err)
	require.False(t, own.All)
	require.Equal(t, map[string][]string{"weir-node-n1": {"weir-node-n1"}}, own.Users)
	role, _ := RoleNamed("weir-node-n1")
	wide := Excess(own.Roles["weir-node-n1"], role.Spans(root.prefix))
	require.True(t, slices.ContainsFunc(wide, func(s Span) bool {
		return s.Write && s.From <= root.prefix+"net/services/" && root.prefix+"net/services/" < s.To
	}), "%v", wide)

	nobody := openAs(t, Config{Endpoints: []string{endpoint}}).Access(t.Context())
	require.True(t, nobody.Enabled)
	require.ErrorIs(t, nobody.Err, cluster.ErrDenied)
}

func TestAuthenticates(t *testing.T) {
	t.Parallel()
	endpoint, as := secured(t)
	stranger := openAs(t, Config{Endpoints: []string{endpoint}})
	wrong := openAs(t, Config{Endpoints: []string{endpoint}, User: "weir-node-n1", Password: "wrong"})
	authenticates(t, true, as("root"), as("weir-node-n1"), stranger, wrong)
	_, err := raw(t, as("root")).AuthDisable(t.Context())
	require.NoError(t, err)
	authenticates(t, false, as("root"), as("weir-node-n1"), stranger, as("nobody"))

	away := openAs(t, Config{Endpoints: []string{"http://127.0.0.1:1"}, DialTimeout: 100 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	on, err := away.Authenticates(ctx)
	require.Error(t, err, "who does not answer does not say that it asks")
	require.False(t, on)
}

// authenticates checks what etcd says to each whether authentication is on.
func authenticates(t *testing.T, want bool, stores ...*Store) {
	t.Helper()
	for _, s := range stores {
		on, err := s.Authenticates(t.Context())
		require.NoError(t, err, s.config.User)
		require.Equal(t, want, on, s.config.User)
	}
}

func TestRoleNamed(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"weir-operator": true, "weir-node-n1": true, "weir-node-": false, "weir-node-a b": false, "root": false, "": false} {
		_, got := RoleNamed(name)
		require.Equal(t, known, got, name)
	}
}

// TestExcess compares with asking key by key.
func TestExcess(t *testing.T) {
	t.Parallel()
	const letters = "abcdef"
	rapid.Check(t, func(t *rapid.T) {
		span := rapid.Custom(func(t *rapid.T) Span {
			from := rapid.IntRange(0, len(letters)-1).Draw(t, "from")
			to := rapid.IntRange(from+1, len(letters)).Draw(t, "to")
			s := Span{From: letters[from : from+1], Read: rapid.Bool().Draw(t, "read"), Write: rapid.Bool().Draw(t, "write")}
			if to < len(letters) {
				s.To = letters[to : to+1]
			}
			return s
		})
		granted, allowed := rapid.SliceOfN(span, 0, 4).Draw(t, "granted"), rapid.SliceOfN(span, 0, 4).Draw(t, "allowed")
		may := func(spans []Span, key string, write bool) bool {
			return slices.ContainsFunc(spans, func(s Span) bool {
				return s.From <= key && (s.To == "" || key < s.To) && (write && s.Write || !write && s.Read)
			})
		}
		excess := Excess(granted, allowed)
		for _, letter := range letters {
			for _, write := range []bool{true, false} {
				key := string(letter)
				require.Equal(t, may(granted, key, write) && !may(allowed, key, write), may(excess, key, write), "%s %v: %v", key, write, excess)
			}
		}
	})
}

func TestSpanString(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]Span{
		"/w/net/*": {From: "/w/net/", To: "/w/net0"}, "/w/net/config": {From: "/w/net/config", To: "/w/net/config\x00"},
		"everything from a": {From: "a"}, "a to c": {From: "a", To: "c"}, `\x1b`: {From: "\x1b", To: "\x1b\x00"},
	} {
		require.Equal(t, want, s.String())
	}
}
