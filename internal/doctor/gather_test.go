package doctor

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/internal/lab"
)

// patient is a host in a namespace of its own, with a root of its own for what is no namespace's.
type patient struct {
	*lab.Namespace
	root, state string
}

func newPatient(t *testing.T) patient {
	l := lab.Test(t)
	ns, err := l.Namespace("n")
	require.NoError(t, err)
	peer, err := l.Namespace("peer")
	require.NoError(t, err)
	require.NoError(t, l.Connect(ns, peer, "eth0", "eth0", netip.MustParsePrefix("192.168.10.1/24"), netip.MustParsePrefix("192.168.10.2/24")))
	p := patient{ns, t.TempDir(), filepath.Join(t.TempDir(), "state")}
	require.NoError(t, os.MkdirAll(filepath.Join(p.root, "etc"), 0o755))
	require.NoError(t, os.Mkdir(p.state, 0o700))
	for _, key := range []string{"net.ipv4.ip_forward", "net.netfilter.nf_conntrack_acct"} {
		require.NoError(t, ns.Sysctl(key, "1"))
	}
	for _, link := range []string{"all", "default", "eth0", "lo"} {
		for name, value := range map[string]string{"rp_filter": "0", "route_localnet": "0", "send_redirects": "0"} {
			require.NoError(t, ns.Sysctl("net.ipv4.conf."+link+"."+name, value))
		}
	}
	return p
}

// look gathers inside the namespace; the rules and etcd are not part of it.
func (p patient) look(t *testing.T) []Finding {
	t.Helper()
	var h *Host
	require.NoError(t, p.Do(func() error {
		h = Gather(Where{StateDir: p.state, Root: p.root})
		return nil
	}))
	return CheckHost(h)
}

func (p patient) run(t *testing.T, args ...string) {
	t.Helper()
	out, err := p.Output(args[0], args[1:]...)
	require.NoError(t, err, "%s", out)
}

func (p patient) sysctl(key, value string) func(*testing.T) {
	return func(t *testing.T) { require.NoError(t, p.Sysctl(key, value)) }
}

func (p patient) file(name, text string) func(*testing.T) {
	return func(t *testing.T) {
		path := filepath.Join(p.root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

// TestProvoked brings about each finding for real, and mends it again.
func TestProvoked(t *testing.T) {
	p := newPatient(t)
	nft := func(text string) func(*testing.T) { return func(t *testing.T) { p.run(t, "nft", text) } }
	for _, step := range []struct {
		check       string
		spoil, mend func(*testing.T)
		severity    Severity
		seen        string
	}{
		{"forwarding", p.sysctl("net.ipv4.ip_forward", "0"), p.sysctl("net.ipv4.ip_forward", "1"), Warn, "ip_forward is 0"},
		{"forwarding", p.sysctl("net.ipv4.conf.eth0.forwarding", "0"), p.sysctl("net.ipv4.conf.eth0.forwarding", "1"), Warn, "interface eth0"},
		{"route_localnet", p.sysctl("net.ipv4.conf.eth0.route_localnet", "1"), p.sysctl("net.ipv4.conf.eth0.route_localnet", "0"), Warn, "interface eth0"},
		{"route_localnet", p.sysctl("net.ipv4.conf.all.route_localnet", "1"), p.sysctl("net.ipv4.conf.all.route_localnet", "0"), Warn, "all interfaces"},
		{"rp_filter", p.sysctl("net.ipv4.conf.all.rp_filter", "1"), p.sysctl("net.ipv4.conf.all.rp_filter", "0"), Note, "strict) on eth0"},
		{"send_redirects", p.sysctl("net.ipv4.conf.eth0.send_redirects", "1"), p.sysctl("net.ipv4.conf.eth0.send_redirects", "0"), Note, "on eth0"},
		{"neighbours", nft("table inet x { chain c { type nat hook prerouting priority -120; }; }"), nft("delete table inet x"), Note, "earlier: inet x (prerouting, -120)"},
		{"neighbours", nft("table ip x { chain c { type nat hook output priority -100; }; }"), nft("delete table ip x"), Note, "same place: ip x (output, -100)"},
		{"firewalld", nft("table inet firewalld { chain c { type filter hook forward priority 10; }; }"), nft("delete table inet firewalld"), Note, "active"},
		{"firewalld", p.file("proc/4711/comm", "firewalld\n"), p.file("proc/4711/comm", "init\n"), Note, "active"},
		{"flush-ruleset", p.file("etc/nftables.conf", "#!/usr/sbin/nft -f\n# flush ruleset\n\nflush ruleset\n"), p.file("etc/nftables.conf", "include \"nft.d/*.nft\"\n"), Note, "/etc/nftables.conf:4"},
		{"flush-ruleset", p.file("etc/nft.d/a.nft", "table ip x { }; flush ruleset"), p.file("etc/nft.d/a.nft", "include \"/etc/nft.d/*.nft\"\n"), Note, "/etc/nft.d/a.nft:1"},
		{"state-dir", p.mode(0o777), p.mode(0o700), Warn, "mode 0777"},
		{"state-dir", p.damage("not json"), p.damage(""), Warn, "snapshot file cannot be used"},
		{"state-dir", p.mount(unix.MS_RDONLY), p.unmount, Warn, "is read-only"},
		{"state-dir", p.mount(0), p.unmount, Warn, "0 MiB left"},
		{"bridge-nf-call", p.bridge, func(t *testing.T) { p.run(t, "ip", "link", "del", "br0") }, Note, "br0 has ports"},
	} {
		expect(t, p.look(t), step.check, OK, "")
		step.spoil(t)
		expect(t, p.look(t), step.check, step.severity, step.seen)
		step.mend(t)
	}
	expect(t, p.look(t), "state-dir", OK, "")
}

func (p patient) mode(m os.FileMode) func(*testing.T) {
	return func(t *testing.T) { require.NoError(t, os.Chmod(p.state, m)) }
}

func (p patient) damage(text string) func(*testing.T) {
	return func(t *testing.T) {
		path := filepath.Join(p.state, "snapshot.json")
		if text == "" {
			require.NoError(t, os.Remove(path))
			return
		}
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
}

func (p patient) mount(flags uintptr) func(*testing.T) {
	return func(t *testing.T) {
		require.NoError(t, unix.Mount("weir-test", p.state, "tmpfs", flags, "size=64k,mode=0700"))
		t.Cleanup(func() { _ = unix.Unmount(p.state, unix.MNT_DETACH) })
	}
}

func (p patient) unmount(t *testing.T) { require.NoError(t, unix.Unmount(p.state, unix.MNT_DETACH)) }

func (p patient) bridge(t *testing.T) {
	p.run(t, "ip", "link", "add", "br0", "up", "type", "bridge")
	p.run(t, "ip", "link", "add", "p0", "up", "master", "br0", "type", "veth", "peer", "name", "p1")
	require.NoError(t, p.Sysctl("net.bridge.bridge-nf-call-iptables", "1"))
}

// TestStrictWithTwoWaysOut needs a second interface.
func TestStrictWithTwoWaysOut(t *testing.T) {
	p := newPatient(t)
	p.run(t, "ip", "link", "add", "eth1", "up", "type", "veth", "peer", "name", "far")
	require.NoError(t, p.AddAddress("eth1", netip.MustParsePrefix("192.168.11.1/24")))
	require.NoError(t, p.Sysctl("net.ipv4.conf.eth1.rp_filter", "1"))
	expect(t, p.look(t), "rp_filter", Warn, "strict) on eth1")
	require.NoError(t, p.Sysctl("net.ipv4.conf.all.rp_filter", "2"))
	expect(t, p.look(t), "rp_filter", OK, "")
}

// TestMixedIptables loads rules by both programs.
func TestMixedIptables(t *testing.T) {
	legacy, err := exec.LookPath("iptables-legacy")
	require.NoError(t, err)
	p := newPatient(t)
	p.run(t, "iptables-nft", "-t", "nat", "-A", "PREROUTING", "-j", "ACCEPT")
	expect(t, p.look(t), "iptables", OK, "")
	p.run(t, legacy, "-A", "FORWARD", "-j", "ACCEPT")
	found := p.look(t)
	expect(t, found, "iptables", Warn, "iptables-legacy (tables filter) and of iptables-nft (tables nat)")
	expect(t, found, "neighbours", Note, "ip nat (prerouting, -100)")
}

// TestAgentIsSeen holds an agent's lock inside the namespace: only there an agent runs.
func TestAgentIsSeen(t *testing.T) {
	p := newPatient(t)
	expect(t, p.look(t), "agent", Fail, "no agent runs")
	var lock net.Listener
	require.NoError(t, p.Do(func() (err error) {
		lock, err = net.Listen("unix", "@weir-agent")
		return err
	}))
	expect(t, p.look(t), "agent", OK, "")
	require.NoError(t, lock.Close())
	expect(t, p.look(t), "agent", Fail, "no agent runs")
}

// TestConntrackIsRead makes connections, and counts what the kernel says of them. The limit belongs to the whole machine,
// so that it is left alone.
func TestConntrackIsRead(t *testing.T) {
	p := newPatient(t)
	p.run(t, "nft", "table ip x { chain c { type filter hook output priority 0; ct state new accept; }; }")
	count := func() (n, most int) {
		require.NoError(t, p.Do(func() error {
			s := readSysctls()
			n, most = s.number("net/netfilter/nf_conntrack_count"), s.number("net/netfilter/nf_conntrack_max")
			return nil
		}))
		return n, most
	}
	before, most := count()
	require.Zero(t, before)
	require.Positive(t, most)
	ln, err := p.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	for range 5 {
		c, err := p.Dial(t.Context(), "tcp", ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
	}
	after, _ := count()
	require.Equal(t, 5, after)
}

// TestLackOfCapability asks as a thread that may do nothing.
func TestLackOfCapability(t *testing.T) {
	caps, err := capabilities()
	require.NoError(t, err)
	require.Equal(t, uint64(1), caps>>unix.CAP_NET_ADMIN&1, "the tests run as root")
	binary := filepath.Join(t.TempDir(), "doctor.test")
	self, err := os.ReadFile("/proc/self/exe")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(binary, self, 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(binary), 0o755))
	c := exec.CommandContext(t.Context(), "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", binary, "-test.run", "^TestPrintFindings$", "-test.v")
	c.Env = append(os.Environ(), "WEIR_DOCTOR_PRINTS=1", "GORACE=atexit_sleep_ms=0")
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "lacks CAP_NET_ADMIN")
	require.Contains(t, string(out), "not permitted", "the kernel is asked all the same, and its answer told")
}

// TestPrintFindings is what TestLackOfCapability runs in another process.
func TestPrintFindings(t *testing.T) {
	if os.Getenv("WEIR_DOCTOR_PRINTS") == "" {
		return
	}
	for _, f := range CheckHost(Gather(Where{})) {
		t.Log(f.Check, f.Seen)
	}
}

// TestRouteFaults breaks the route to a VIP in each way that it can be broken.
func TestRouteFaults(t *testing.T) {
	p := newPatient(t)
	pool, vip := netip.MustParsePrefix("10.10.0.0/16"), netip.MustParseAddr("10.10.0.1")
	faults := func() (out []agent.RouteFault) {
		t.Helper()
		require.NoError(t, p.Do(func() (err error) {
			out, err = agent.RouteFaults([]netip.Prefix{pool}, []netip.Addr{vip})
			return err
		}))
		return out
	}
	ip := func(args string) { p.run(t, append([]string{"ip"}, strings.Fields(args)...)...) }
	says := func(prefix, what string) {
		t.Helper()
		found := faults()
		require.Len(t, found, 1)
		require.Equal(t, prefix, found[0].Prefix.String())
		require.Equal(t, what, found[0].What)
	}
	says(pool.String(), "is missing")
	ip("link add weir0 up type bridge")
	ip("route add 10.10.0.0/16 dev weir0 proto 87 scope link src 192.168.10.1")
	require.Empty(t, faults())
	ip("route add 10.10.0.1/32 via 192.168.10.2")
	says("10.10.0.1/32", "another route is preferred: over eth0")
	ip("route del 10.10.0.1/32")
	ip("rule add to 10.10.0.0/24 lookup 99")
	ip("route add default via 192.168.10.2 table 99")
	says("10.10.0.1/32", "another route is preferred: over eth0")
	ip("rule del to 10.10.0.0/24 lookup 99")
	require.Empty(t, faults())
	ip("route replace 10.10.0.0/16 dev eth0 proto 87 scope link src 192.168.10.1")
	says(pool.String(), "goes over eth0")
	ip("route del 10.10.0.0/16")
	ip("route add 10.10.0.0/16 via 192.168.10.2")
	says(pool.String(), "is missing")
}

// TestGatherChangesNothing compares what the kernel lists before and after.
func TestGatherChangesNothing(t *testing.T) {
	p := newPatient(t)
	list := func() string {
		out, err := p.Output("sh", "-c", "nft list ruleset; ip route; ip link; ip rule; sysctl net.ipv4 net.netfilter 2>/dev/null | grep -v -e random -e count -e _mem -e fib_")
		require.NoError(t, err)
		return string(out)
	}
	before := list()
	for range 3 {
		p.look(t)
	}
	require.Equal(t, before, list())
	state, err := os.ReadDir(p.state)
	require.NoError(t, err)
	require.Empty(t, state)
}

func TestReadConf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]int{
		"flush ruleset": {1}, "\nflush ruleset;": {2}, "flush   ruleset # all\n": {1}, "#flush ruleset": nil, "flush table ip x": nil,
		"add table ip x; flush ruleset": {1}, "noflush ruleset": nil, "flush rulesets": nil, "": nil,
	} {
		lines, _ := readConf(text)
		require.Equal(t, want, lines, text)
	}
	_, included := readConf("include \"a\"\n\tinclude \"/b/*.nft\"; include \"c\"\n# include \"d\"\n")
	require.Equal(t, []string{"a", "/b/*.nft", "c"}, included)
}

// TestSelfIncluding ends, and soon.
func TestSelfIncluding(t *testing.T) {
	t.Parallel()
	p := patient{root: t.TempDir()}
	p.file("etc/nftables.conf", "include \"/etc/*.conf\"\ninclude \"/etc/nftables.conf\"\ninclude \"/etc/missing\"\nflush ruleset\n")(t)
	begin := time.Now()
	found, err := flushes(p.root)
	require.NoError(t, err)
	require.Equal(t, []Flush{{"/etc/nftables.conf", 4, false}}, found)
	require.Less(t, time.Since(begin), 5*time.Second)
	p.file("etc/systemd/system/sysinit.target.wants/nftables.service", "")(t)
	found, err = flushes(p.root)
	require.NoError(t, err)
	require.True(t, found[0].AtBoot)
}

func FuzzReadConf(f *testing.F) {
	f.Add("#!/usr/sbin/nft -f\nflush ruleset\ninclude \"/etc/nft.d/*.nft\"\n")
	f.Add("include \"\"\ninclude \"[\"; flush\truleset")
	f.Fuzz(func(t *testing.T, text string) {
		lines, included := readConf(text)
		for _, n := range lines {
			require.True(t, n >= 1 && n <= strings.Count(text, "\n")+1)
		}
		for _, name := range included {
			require.NotEmpty(t, name)
		}
	})
}
