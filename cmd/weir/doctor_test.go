package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/etcd/embedded"
	"github.com/weir-lb/weir/internal/doctor"
	"github.com/weir-lb/weir/internal/lab"
)

// sickbay is a node in a namespace, with an etcd that its commands reach by a socket in the file system.
type sickbay struct {
	*lab.Namespace
	endpoint, state string
}

func newSickbay(t *testing.T) *sickbay {
	l := lab.Test(t)
	ns, err := l.Namespace("n")
	require.NoError(t, err)
	peer, err := l.Namespace("peer")
	require.NoError(t, err)
	require.NoError(t, l.Connect(ns, peer, "eth0", "eth0", netip.MustParsePrefix("192.168.10.1/24"), netip.MustParsePrefix("192.168.10.2/24")))
	for key, value := range map[string]string{"ip_forward": "1", "conf.all.send_redirects": "0", "conf.eth0.send_redirects": "0", "conf.all.rp_filter": "0", "conf.eth0.rp_filter": "0"} {
		require.NoError(t, ns.Sysctl("net.ipv4."+key, value))
	}
	dir := t.TempDir()
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: dir + "/etcd", Listen: "unix://" + dir + "/sock", NoSync: true})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	state := filepath.Join(dir, "state")
	require.NoError(t, os.Mkdir(state, 0o700))
	return &sickbay{ns, server.Endpoint(), state}
}

// weir runs a command inside the namespace, as a process: an agent has threads, and only so they all stay there.
func (s *sickbay) weir(t *testing.T, args ...string) result {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := s.Command(self)
	c.Env = append(os.Environ(), atOnce, "WEIR_TEST_COMMAND="+strings.Join(append([]string{"--etcd", s.endpoint, "--timeout", "30s"}, args...), " "))
	var out, talk bytes.Buffer
	c.Stdout, c.Stderr = &out, &talk
	if err := s.Run(c); err != nil {
		require.ErrorAs(t, err, new(*exec.ExitError), talk.String())
	}
	return result{c.ProcessState.ExitCode(), out.String(), talk.String()}
}

// findings are what a doctor says, by check.
func (s *sickbay) findings(t *testing.T, args ...string) map[string]doctorFinding {
	t.Helper()
	r := s.weir(t, append(args, "-o", "json")...)
	var told struct {
		Worst    string          `json:"worst"`
		Findings []doctorFinding `json:"findings"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &told), "%s%s", r.out, r.err)
	out := map[string]doctorFinding{}
	for _, f := range told.Findings {
		if _, told := out[f.Check]; !told { // the worst comes first
			out[f.Check] = f
		}
	}
	return out
}

type doctorFinding struct{ Check, Severity, Seen, Why, Fix string }

func TestAgentDoctor(t *testing.T) {
	t.Parallel()
	b := newSickbay(t)
	doctor := []string{"agent", "doctor", "--node", "n1", "--state-dir", b.state}
	store, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{b.endpoint}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = store.Close() })
	published := &cluster.Service{Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}}}
	instance, err := cluster.ParseInstance("192.168.10.2:80")
	require.NoError(t, err)
	published.Instances = []cluster.Instance{instance}
	_, err = store.Commit(t.Context(), cluster.Publish{Service: published})
	require.NoError(t, err)

	found := b.findings(t, doctor...)
	require.Equal(t, "fail", found["agent"].Severity)
	require.Equal(t, "fail", found["rules"].Severity)
	require.Contains(t, found["routes"].Seen, "the route to 10.10.1.1/32: is missing")

	r := b.weir(t, "agent", "--once", "--node", "n1", "--state-dir", b.state)
	require.Equal(t, 0, r.code, r.err)
	lock := b.lock(t)
	found = b.findings(t, doctor...)
	for _, check := range []string{"agent", "etcd", "rules", "routes", "forwarding", "capability", "state-dir"} {
		require.Equal(t, "ok", found[check].Severity, "%v", found[check])
	}
	text := b.weir(t, append(doctor, "--check=fail")...)
	require.Equal(t, 0, text.code, "%s%s", text.out, text.err)
	require.NotContains(t, text.out, "ok ")
	require.Contains(t, b.weir(t, append(doctor, "-v")...).out, "ok    rules: the kernel holds what etcd says\n")

	// What nobody repairs: the table is the agent's, and this one is gone.
	require.NoError(t, b.Sysctl("net.ipv4.ip_forward", "0"))
	_, err = b.Output("nft", "delete element ip weir vips { 10.10.1.1 }")
	require.NoError(t, err)
	found = b.findings(t, doctor...)
	require.Equal(t, "fail", found["rules"].Severity)
	require.Equal(t, "warn", found["forwarding"].Severity)
	require.NoError(t, lock.Close())
	require.Eventually(t, func() bool { // once no child is left that another test was starting and that has the lock, too
		return b.findings(t, doctor...)["agent"].Severity == "fail"
	}, time.Minute, 10*time.Millisecond)
	checked := b.weir(t, append(doctor, "--check")...)
	require.Equal(t, 7, checked.code)
	require.Contains(t, checked.out, "fail  agent: no agent runs in this network namespace\n      why: ")
	require.NotContains(t, checked.err, "error", "that something is wrong is the answer, not an error")
	require.Equal(t, 0, b.weir(t, doctor...).code)
}

// TestAgentDoctorWithoutEtcd still looks at the node, and does not call good what it cannot know.
func TestAgentDoctorWithoutEtcd(t *testing.T) {
	t.Parallel()
	b := newSickbay(t)
	b.endpoint = "unix:///nonexistent/sock"
	found := b.findings(t, "agent", "doctor", "--timeout", "200ms", "--state-dir=")
	require.Equal(t, "fail", found["etcd"].Severity)
	require.Equal(t, "warn", found["rules"].Severity)
	require.Equal(t, "ok", found["forwarding"].Severity)
}

func (s *sickbay) lock(t *testing.T) (lock net.Listener) {
	t.Helper()
	require.NoError(t, s.Do(func() error {
		var err error
		lock, err = net.Listen("unix", "@weir-agent")
		return err
	}))
	t.Cleanup(func() { _ = lock.Close() })
	return lock
}

func TestCheckFlag(t *testing.T) {
	t.Parallel()
	var f checkFlag
	require.NoError(t, f.Set("warn"))
	require.Equal(t, doctor.Warn, f.from)
	require.NoError(t, f.Set("fail"))
	require.Equal(t, "fail", f.String())
	require.Error(t, f.Set("ok"))
	require.Equal(t, 2, weir(t, newFake(), "agent", "doctor", "--check=nonsense").code)
}
