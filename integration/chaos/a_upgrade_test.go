package chaos

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// oldVariable names the older version to upgrade from: a tag or commit. Without it that is the newest tag which is not this
// commit, and before the first tag the commit that first passed the demo, known by its first line.
const (
	oldVariable = "WEIR_OLD"
	oldSubject  = "etcd: presence, what nodes have applied, roles, and tests"
)

// oldProgram builds the older version, from a copy of its source.
func (r *run) oldProgram() string {
	r.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(r, err)
	commit := r.oldCommit(root)
	dir := r.TempDir()
	archive, err := os.Create(filepath.Join(dir, "source.tar"))
	require.NoError(r, err)
	defer archive.Close()
	pack := exec.Command("git", "-C", root, "archive", commit)
	pack.Stdout = archive
	require.NoError(r, pack.Run(), "git archive %s", commit)
	program := filepath.Join(dir, "weir.old")
	for _, args := range [][]string{{"tar", "-xf", "source.tar"}, {"go", "build", "-buildvcs=false", "-o", program, "./cmd/weir"}} {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = dir
		said, err := cmd.CombinedOutput()
		require.NoError(r, err, "%v of %s: %s", args, commit, said)
	}
	return program
}

func (r *run) oldCommit(root string) string {
	r.Helper()
	if named := os.Getenv(oldVariable); named != "" {
		return named
	}
	if tag, err := exec.Command("git", "-C", root, "describe", "--tags", "--abbrev=0", "HEAD^").Output(); err == nil {
		return strings.TrimSpace(string(tag))
	}
	found, err := exec.Command("git", "-C", root, "log", "-1", "--format=%H", "--fixed-strings", "--grep", oldSubject).Output()
	require.NoError(r, err)
	commit := strings.TrimSpace(string(found))
	require.NotEmpty(r, commit, "no commit %q in the history, as in a shallow clone: fetch all of it, or name an older version by %s", oldSubject, oldVariable)
	return commit
}

// upgrade goes from the older version to this one, back, and here again, by kill and by stop.
func upgrade(r *run) {
	old := r.oldProgram()
	w := r.world(integration.Options{Nodes: 1, Idle: true})
	a := w.Agents[0]
	swap := func(program string) {
		a.Program = program
		began := time.Now()
		a.Start()
		a.AwaitReady(10 * time.Second)
		r.repaired(time.Since(began))
	}
	swap(old)
	p := r.probe(w)
	p.more(200)
	for n, program := range []string{program, old, program} {
		if n%2 == 0 {
			a.Kill()
		} else {
			a.Stop()
		}
		swap(program)
		r.figure([]string{"writes_up", "writes_down", "writes_up_again"}[n], a.Metric("weir_agent_writes_total"))
		p.more(200)
	}
	w.Publish(p.service(p.addresses[:2]...)) // what was taken over can be worked with
	w.Only(w.Client, p.tcp, p.addresses[:2]...)
	p.unharmed()
}

// otherChains leaves a table of our name whose chains hook in elsewhere and whose maps have other types, as another
// version of the program might have made it, and starts the agent on it.
func otherChains(r *run) {
	w := r.world(integration.Options{})
	p, a, node := r.probe(w), w.Agents[0], w.Nodes[0]
	good, slots := r.frame(node), w.Slots(node)
	for _, other := range []string{
		"flush chain ip weir prerouting; delete chain ip weir prerouting; add chain ip weir prerouting { type nat hook prerouting priority -90; }; add rule ip weir prerouting jump dispatch",
		"delete table ip weir; table ip weir { chain prerouting { type nat hook prerouting priority -90; }; }",
		"delete table ip weir; table ip weir { chain prerouting { type filter hook prerouting priority -150; }; }",
		"delete table ip weir; table ip weir { map services { type ipv4_addr : verdict; }; }",
		"delete table ip weir; table ip weir { chain old { ip daddr 10.10.0.0/16 drop; }; chain forward { type filter hook forward priority 0; jump old; }; }",
	} {
		a.Kill()
		require.NoError(r, node.Run(node.Command("nft", other)))
		began := time.Now()
		a.Start()
		a.AwaitReady(10 * time.Second)
		r.repaired(time.Since(began))
		require.Equal(r, good, r.frame(node), other)
		require.Equal(r, slots, w.Slots(node), other)
		require.NotContains(r, a.Log(), "level=ERROR", other)
	}
	p.stop() // without our table connections had to fail
	w.Only(w.Client, p.tcp, p.addresses...)
	w.Only(node, p.tcp, p.addresses...)
}

// foreignTables are what other programs have on a node.
const foreignTables = `table ip nat { chain post { type nat hook postrouting priority srcnat; ip saddr 10.99.0.0/16 masquerade; }; }
table inet filter { set blocked { type ipv4_addr; elements = { 203.0.113.7 }; }; chain input { type filter hook input priority filter; ip saddr @blocked drop; }; }
table ip6 weir-not { chain weir { }; }
table inet weir { chain c { }; }`

// uninstall removes all that is ours, and nothing else.
func uninstall(r *run) {
	w := r.world(integration.Options{Idle: true})
	node, a := w.Nodes[0], w.Agents[0]
	w.NFT(node, foreignTables)
	if r.Driver == "ipt" {
		// As on a host where iptables is in use: its built-in chains, which it makes on first use, cannot be removed by it.
		r.shell(node, "for p in iptables ip6tables; do $p -P INPUT ACCEPT; $p -P FORWARD ACCEPT; $p -P OUTPUT ACCEPT; for c in PREROUTING INPUT OUTPUT POSTROUTING; do $p -t nat -P $c ACCEPT; done; done")
	}
	_, err := node.Output("ip", "route", "add", "10.77.0.0/16", "via", w.Nodes[1].Addr4.String())
	require.NoError(r, err)
	before := r.ruleset(node) + r.addressing(node)
	for _, a := range w.Agents {
		a.Start()
	}
	w.AwaitAgents(len(w.Agents))
	p := r.probe(w)
	p.more(100)
	p.stop()
	require.NotEqual(r, before, r.ruleset(node)+r.addressing(node))
	a.Stop()
	_, err = node.Output(program, "rules", "clean")
	require.NoError(r, err)
	require.Equal(r, before, r.ruleset(node)+r.addressing(node), "what is left and what was there")
	r.figure("foreign_diff", 0)
}

// addressing is what ip lists on a node.
func (r *run) addressing(node *lab.Host) (text string) {
	r.Helper()
	for _, what := range []string{"-4 route show table all", "-6 route show table all", "-o link show", "-4 rule", "-6 rule"} {
		out, err := node.Output("ip", strings.Fields(what)...)
		require.NoError(r, err)
		text += string(out)
	}
	return text
}
