package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/storetest"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/internal/status"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	f := newFake()
	for _, node := range []string{"n1", "n2"} {
		f.Tell(node, true, cluster.Applied{Revision: 1000, At: noon})
	}
	f.Put(t, storetest.Service(t, "a", "10.10.1.1:80", "192.168.1.1:80"))
	f.candidates = []etcd.Candidacy{{Leader: etcd.Leader{Name: "cc1\x1b[2J", Since: noon}, Term: 7}}
	r := weir(t, f, "status")
	require.Equal(t, 0, r.code, r.out+r.err)
	require.Contains(t, r.out, "services   1 ready, 0 short, 0 without an instance\n")
	require.Contains(t, r.out, `cc1\u001b[2J since 2026-01-02T12:00:00Z (0s), term 7; nobody would follow`)
	require.NotContains(t, r.out, "\x1b")

	f.Put(t, storetest.Service(t, "b", "10.10.1.2:80"))
	r = weir(t, f, "status")
	require.Equal(t, 7, r.code)
	require.Contains(t, r.out, "service b: no instance takes connections: clients are refused\n    -> weir describe service b\n")
	require.Empty(t, r.err)
	r = weir(t, f, "status", "-o", "json")
	require.Equal(t, 7, r.code)
	var s status.Status
	require.NoError(t, json.Unmarshal([]byte(r.out), &s))
	require.Equal(t, "cc1\x1b[2J", s.Leader.Name)
	require.Len(t, s.Problems, 1)
	f.candidates = nil
	require.Contains(t, weir(t, f, "status").out, "no control center leads")

	f.denied = fmt.Errorf("read: %w", cluster.ErrDenied)
	require.Equal(t, 1, weir(t, f, "status").code)
	f.Fail(storetest.ErrUnreachable)
	require.Equal(t, 5, weir(t, f, "status").code)
	require.Equal(t, 2, weir(t, f, "status", "now").code)
}

// The leader is asked only where its pages can be reached from here, and nothing that answers in its place is believed.
func TestStatusAsksTheLeader(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"/debug/leader":   `{"name": "cc1", "leading": true, "error": "slow\u001b"}`,
		"/debug/problems": "service a: one\nnode n1: two\n" + strings.Repeat("x\n", 100),
		"/debug/state":    `{"pending": [{}, {}], "problems": [{"object": "service b", "what": "no room", "fix": "add a node"}]}`,
	}
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, there := answers[r.URL.Path]
		if !there {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, text)
	}))
	defer pages.Close()
	at := pages.Listener.Addr().(*net.TCPAddr)
	leader := etcd.Candidacy{Leader: etcd.Leader{Name: "cc1", Host: hostName(), Pages: at.String()}}
	got := askLeader(t.Context(), leader)
	require.Equal(t, []any{`slow\x1b`, 2, mostLines + 1}, []any{got.Error, got.Pending, len(got.Problems)})
	require.Equal(t, "service b: no room: add a node", got.Problems[mostLines])
	everywhere := leader
	everywhere.Pages = fmt.Sprintf("0.0.0.0:%d", at.Port)
	require.NotNil(t, askLeader(t.Context(), everywhere))
	for name, change := range map[string]func(*etcd.Candidacy){
		"loopback of another host": func(c *etcd.Candidacy) { c.Host = "elsewhere" },
		"all addresses of another": func(c *etcd.Candidacy) { c.Host, c.Pages = "elsewhere", everywhere.Pages },
		"no pages":                 func(c *etcd.Candidacy) { c.Pages = "" },
		"no address":               func(c *etcd.Candidacy) { c.Pages = "localhost:x" },
		"somebody else":            func(c *etcd.Candidacy) { c.Name = "cc2" },
		"nobody":                   func(c *etcd.Candidacy) { c.Pages = "127.0.0.1:1" },
	} {
		c := leader
		change(&c)
		require.Nil(t, askLeader(t.Context(), c), name)
	}
	delete(answers, "/debug/state")
	require.Len(t, askLeader(t.Context(), leader).Problems, mostLines, "one page that fails does not hide the others")
}
