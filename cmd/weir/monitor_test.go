package main

import (
	"bytes"
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon/check"
	"github.com/weir-lb/weir/loadmon/sample"
)

// Beyond loopback only with certificates, or where that was asked for by name.
func TestWhereMonitorsListen(t *testing.T) {
	t.Parallel()
	tls := etcdFlags{endpoints: []string{"https://192.0.2.1:2379"}, ca: "ca", cert: "cert", key: "key"}
	unix := etcdFlags{endpoints: []string{"unix:///run/x"}}
	insecure := etcdFlags{endpoints: []string{"http://192.0.2.1:2379"}, insecure: true}
	password := etcdFlags{endpoints: tls.endpoints, ca: "ca", user: "n1"}
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
	for _, c := range []struct {
		name    string
		etcd    etcdFlags
		listen  string
		address string
		url     string
		unsafe  bool
	}{
		{"TLS", tls, "", "[::]:9647", "https://192.0.2.7:9647", false},
		{"TLS, one address", tls, "192.0.2.7:1", "192.0.2.7:1", "https://192.0.2.7:1", false},
		{"etcd on this host", unix, "", "127.0.0.1:9647", "http://127.0.0.1:9647", false},
		{"etcd on this host, another port", unix, "127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:1", false},
		{"insecure", insecure, "", "[::]:9647", "http://192.0.2.7:9647", false},
		{"insecure, IPv6", insecure, "[2001:db8::7]:1", "[2001:db8::7]:1", "http://[2001:db8::7]:1", false},
		{"insecure, on loopback all the same", insecure, "127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:1", false},
		{"a password alone", password, "", "127.0.0.1:9647", "http://127.0.0.1:9647", false},
		{"a password alone, asked for", password, ":9647", "", "", true},
		{"etcd on this host, asked for", unix, "192.0.2.7:9647", "", "", true},
		{"all addresses, asked for", unix, "0.0.0.0:9647", "", "", true},
		{"mapped", unix, "[::ffff:192.0.2.7]:9647", "", "", true},
	} {
		p, err := (&monitorOptions{listen: c.listen}).place(c.etcd)
		if c.unsafe {
			require.ErrorIs(t, err, cluster.ErrUnsafe, c.name)
			require.ErrorContains(t, err, "--insecure-etcd", c.name)
			continue
		}
		require.NoError(t, err, c.name)
		require.Equal(t, c.address, p.address.String(), c.name)
		require.Equal(t, c.url, p.url(t.Context(), addresses, p.address.Port()), c.name)
		require.Equal(t, len(c.etcd.cert) > 0, p.tls != nil, c.name)
	}
	p := doorPlace{address: netip.MustParseAddrPort("[::]:9647")}
	require.Empty(t, p.url(t.Context(), nil, 9647), "a node without an address")
	loopback := netip.MustParseAddr("127.0.0.1")
	p.etcd = "http://127.0.0.1:2379"
	require.Equal(t, "http://127.0.0.1:9647", p.url(t.Context(), append(addresses, loopback), 9647), "the address on the way to etcd")
}

func TestMonitorFlagsThatAreRefused(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	for _, command := range []string{"agent", "up", "loadmon"} {
		begin := []string{command, "--node", "n1"}
		if command != "loadmon" {
			begin = append(begin, "--state-dir", state)
		}
		for _, c := range []struct {
			args []string
			code int
			says string
		}{
			{[]string{"--load-listen", "0.0.0.0:9647"}, 3, "--load-listen 0.0.0.0:9647 is not loopback"},
			{[]string{"--load-listen", ":9647"}, 3, "give --etcd-ca, --etcd-cert and --etcd-key"},
			{[]string{"--load-listen", "host:9647"}, 2, `--load-listen "host:9647": want IP:PORT or :PORT`},
			{[]string{"--load-listen", "127.0.0.1:0"}, 2, "want IP:PORT"},
			{[]string{"--report-listen", "192.0.2.1:9645"}, 3, "speaks for this host's instances"},
			{[]string{"--report-listen", ":9645"}, 2, "want IP:PORT"},
		} {
			r := weir(t, newFake(), append(begin[:len(begin):len(begin)], c.args...)...)
			require.Equal(t, c.code, r.code, "%s %v: %s", command, c.args, r.err)
			require.Contains(t, r.err, c.says)
			require.NoDirExists(t, state, "nothing was opened")
		}
	}
	for _, args := range [][]string{{"--interval", "1s"}, {"-o", "json"}, {"--node", "a/b"}, {"--listen", "nowhere"}, {"--driver", "x"}} {
		require.Equal(t, 2, weir(t, newFake(), append([]string{"loadmon", "--node", "n1"}, args...)...).code, args)
	}
	require.Equal(t, 3, weir(t, newFake(), "loadmon", "--node", "n1", "--listen", "0.0.0.0:9649").code)
}

// A second load monitor on the same host says so.
func TestLoadmonWithoutAPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	r := weir(t, newFake(), "loadmon", "--node", "n1", "--load-listen", taken.Addr().String(), "--listen=", "--report-listen=", "--etcd", "http://127.0.0.1:1")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.err, "is another load monitor running")
}

// hearer are what instances said.
type hearer map[check.ID][]check.Word

func (w hearer) Tell(id check.ID, word check.Word) error {
	w[id] = append(w[id], word)
	return nil
}

func TestWhatAgentChecksSay(t *testing.T) {
	t.Parallel()
	heard := hearer{}
	told := heed(heard)
	for _, s := range []sample.State{sample.Up, sample.Down, sample.Fail, sample.Stopped, sample.Ready, sample.Drain, sample.Maint} {
		told(sample.ID{Service: "a", Instance: "x"}, sample.Word{State: s, Reason: string(s)})
	}
	require.Equal(t, hearer{{Service: "a", Instance: "x"}: {
		{State: check.OK, Output: "up"}, {State: check.Fail, Output: "down"}, {State: check.Fail, Output: "fail"}, {State: check.Fail, Output: "stopped"},
		{State: check.Back, Output: "ready"}, {State: check.Leave, Output: "drain"}, {State: check.Leave, Output: "maint"},
	}}, heard)
}

// What cannot be checked is told beside what else is wrong with the node.
func TestProblemsOfAMonitor(t *testing.T) {
	t.Parallel()
	p := func(object string) []cluster.Problem { return []cluster.Problem{{Object: object, What: "bad"}} }
	n := &nodeMonitor{troubles: []func() []cluster.Problem{func() []cluster.Problem { return p("service b") }, func() []cluster.Problem { return p("service a") }}}
	require.Equal(t, append(p("service a"), p("service b")...), n.problems())
	var page bytes.Buffer
	require.NoError(t, n.writeProblems(&page))
	require.Equal(t, "service a: bad\nservice b: bad\n", page.String())
}

func TestWhoSeesProcesses(t *testing.T) {
	t.Parallel()
	for effective, want := range map[string]bool{
		"0000000000001000": false, // CAP_NET_ADMIN
		"0000000000081000": false, // and CAP_SYS_PTRACE
		"0000000000081004": true,  // and CAP_DAC_READ_SEARCH
		"000001ffffffffff": true,
	} {
		got, err := mayLook("Name:\tweir\nCapPrm:\t000001ffffffffff\nCapEff:\t" + effective + "\nCapBnd:\t000001ffffffffff\n")
		require.NoError(t, err)
		require.Equal(t, want, got, effective)
	}
	for _, text := range []string{"", "Name:\tweir\n", "x\nCapEff:\tzz\n"} {
		_, err := mayLook(text)
		require.Error(t, err)
	}
	_, err := seesProcesses()
	require.NoError(t, err)
	require.Empty(t, unseen("n1", 0))
	require.Contains(t, unseen("n1", 2)[0].Error(), "CAP_SYS_PTRACE")
}
