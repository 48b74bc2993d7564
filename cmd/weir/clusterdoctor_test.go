package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bytes"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/etcd/embedded"
)

// clinic is an etcd, and weir doctor for it.
type clinic struct {
	endpoint string
	flags    []string
}

func newClinic(t *testing.T) *clinic {
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", NoSync: true, WeakHashes: true})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return &clinic{endpoint: server.Endpoint()}
}

func (c *clinic) run(t *testing.T, args ...string) result {
	t.Helper()
	var out, talk bytes.Buffer
	line := append([]string{"weir", "--etcd", c.endpoint, "--timeout", "30s"}, append(c.flags, args...)...)
	code := newApp(strings.NewReader(""), &out, &talk).execute(t.Context(), line)
	return result{code, out.String(), talk.String()}
}

func (c *clinic) findings(t *testing.T) map[string]doctorFinding {
	t.Helper()
	r := c.run(t, "doctor", "-o", "json")
	var told struct{ Findings []doctorFinding }
	require.NoError(t, json.Unmarshal([]byte(r.out), &told), "%s%s", r.out, r.err)
	out := map[string]doctorFinding{}
	for _, f := range told.Findings {
		if _, told := out[f.Check]; !told {
			out[f.Check] = f
		}
	}
	return out
}

func (c *clinic) store(t *testing.T, config etcd.Config) *etcd.Store {
	t.Helper()
	config.Endpoints = []string{c.endpoint}
	s, err := etcd.Open(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestDoctorOfTheCluster(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	node(t, c.endpoint, "n1")
	for _, line := range []string{"controlcenter publish a --vip 10.10.1.1:80 --instance 192.168.10.1:80"} {
		require.Equal(t, 0, c.run(t, strings.Fields(line)...).code)
	}
	require.Equal(t, 0, c.run(t, "doctor", "--check").code)
	found := c.findings(t)
	require.Equal(t, "ok", found["nodes"].Severity, "%v", found["nodes"])
	require.Equal(t, "ok", found["services"].Severity)
	require.NotContains(t, found, "rbac", "there is nothing to say of rights where nobody is asked for them")

	// A node that joined and is not there; one that accepts everything and whose clock is wrong; a broken value.
	s := c.store(t, etcd.Config{Insecure: true})
	require.NoError(t, s.Join(t.Context(), "n2", &cluster.Node{Version: "other"}))
	require.NoError(t, s.Applied(t.Context(), "n3", cluster.Applied{Revision: 9, At: time.Now().Add(time.Hour), Held: &cluster.Held{Revision: 3}, Problems: []cluster.Problem{{Object: "node", What: "bad"}}}))
	raw, err := s.Client()
	require.NoError(t, err)
	_, err = raw.Put(t.Context(), s.Prefix()+"net/services/b", "{")
	require.NoError(t, err)
	found = c.findings(t)
	for check, want := range map[string]string{
		"nodes": "n2, n3", "insecure": "n3", "clocks": "n3 (", "guard": "n3", "problems": "node n3: node: bad", "values": "key net/services/b",
	} {
		require.Equal(t, "warn", found[check].Severity, check)
		require.Contains(t, found[check].Seen, want)
	}
	require.Equal(t, 7, c.run(t, "doctor", "--check").code)
	require.Equal(t, 0, c.run(t, "doctor", "--check=fail").code)
}

// authenticate gives each role a user of its name, and returns the file with the password of all of them.
func (c *clinic) authenticate(t *testing.T, nodes ...string) string {
	t.Helper()
	s := c.store(t, etcd.Config{})
	raw, err := s.Client()
	require.NoError(t, err)
	ctx := t.Context()
	for _, r := range append(etcd.Roles(nodes...), etcd.Role{Name: "root"}) {
		_, err := raw.RoleAdd(ctx, r.Name)
		require.NoError(t, err)
		for _, g := range r.Spans(s.Prefix()) {
			kind := clientv3.PermissionType(clientv3.PermRead)
			if g.Write {
				kind = clientv3.PermissionType(clientv3.PermReadWrite)
			}
			_, err = raw.RoleGrantPermission(ctx, r.Name, g.From, g.To, kind)
			require.NoError(t, err)
		}
		_, err = raw.UserAdd(ctx, r.Name, "secret")
		require.NoError(t, err)
		_, err = raw.UserGrantRole(ctx, r.Name, r.Name)
		require.NoError(t, err)
	}
	_, err = raw.AuthEnable(ctx)
	require.NoError(t, err)
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte("secret\n"), 0o600))
	return password
}

// TestDoctorOfRights has an etcd with users, one of whom may do more than a node should.
func TestDoctorOfRights(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	s := c.store(t, etcd.Config{})
	ctx := t.Context()
	password := c.authenticate(t, "n1")
	as := func(user string) map[string]doctorFinding {
		c.flags = []string{"--etcd-user", user, "--etcd-password-file", password}
		return c.findings(t)
	}
	require.Equal(t, "this is etcd's root", as("root")["rbac"].Seen)
	require.Contains(t, as("weir-node-n1")["rbac"].Seen, "only the rights of this user, weir-node-n1")

	root := c.store(t, etcd.Config{User: "root", Password: "secret"})
	raw, err := root.Client()
	require.NoError(t, err)
	_, err = raw.RoleGrantPermission(ctx, "weir-node-n1", s.Prefix(), clientv3.GetPrefixRangeEnd(s.Prefix()), clientv3.PermissionType(clientv3.PermReadWrite))
	require.NoError(t, err)
	for _, user := range []string{"root", "weir-node-n1"} {
		found := as(user)["rbac"]
		require.Equal(t, "warn", found.Severity, user)
		require.Contains(t, found.Seen, "role weir-node-n1 may write beyond its part", user)
	}
	require.Equal(t, "ok", as("root")["authentication"].Severity)

	c.flags = nil
	nobody := c.run(t, "doctor")
	require.NotEqual(t, 0, nobody.code)
	require.Contains(t, nobody.out+nobody.err, "weir rbac")
}

func TestDoctorOfNobody(t *testing.T) {
	t.Parallel()
	c := &clinic{endpoint: "http://127.0.0.1:1"}
	r := c.run(t, "doctor", "--timeout", "300ms")
	require.Equal(t, 5, r.code)
	require.Contains(t, r.out, "fail  endpoints: http://127.0.0.1:1 does not answer")
}

// TestDoctorPrints reads the short output: only what matters, with why and what to do.
func TestDoctorPrints(t *testing.T) {
	t.Parallel()
	f := newFake()
	ctx := context.Background()
	_, err := f.Commit(ctx, cluster.Publish{Service: &cluster.Service{Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}}})
	require.NoError(t, err)
	r := weir(t, f, "doctor")
	require.Equal(t, 0, r.code)
	require.Contains(t, r.out, "warn  services: no instance takes connections of a\n      why: their clients are refused\n      fix: weir get instances SERVICE")
	require.NotContains(t, r.out, "ok  ")
	require.Contains(t, weir(t, f, "doctor", "-v").out, "ok    endpoints")
	require.Contains(t, weir(t, f, "doctor", "-o", "yaml").out, "worst: warn")
}

func TestDoctorAsksLoadMonitors(t *testing.T) {
	t.Parallel()
	c := newClinic(t)
	node(t, c.endpoint, "n1")
	s := c.store(t, etcd.Config{})
	require.NoError(t, s.Join(t.Context(), "n1", &cluster.Node{Monitor: "http://127.0.0.1:1"}))
	require.Equal(t, "ok", c.findings(t)["monitors"].Severity, "without a token nobody is asked")
	client, err := s.Client()
	require.NoError(t, err)
	const token = "0123456789abcdef0123456789abcdef"
	_, err = client.Put(t.Context(), s.Prefix()+"ops/secret", `{"token":"`+token+`"}`)
	require.NoError(t, err)
	found := c.findings(t)["monitors"]
	require.Equal(t, "warn", found.Severity)
	require.Contains(t, found.Seen, "ask the load monitor of node n1 at http://127.0.0.1:1: dial tcp 127.0.0.1:1: connect: connection refused")

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"node":"n1","loads":[]}`))
	}))
	t.Cleanup(server.Close)
	require.NoError(t, s.Join(t.Context(), "n1", &cluster.Node{Monitor: server.URL}))
	require.Equal(t, "ok", c.findings(t)["monitors"].Severity)
}
