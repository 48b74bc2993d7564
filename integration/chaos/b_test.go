package chaos

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

var kernelCases = map[string]func(*run){
	"B1":  flushRuleset,
	"B2":  flushOrphan,
	"B3":  flushIptables,
	"B4":  elementsByHand,
	"B5":  foreignRule,
	"B7":  stockScript,
	"B9":  lostNotices,
	"B10": switchDriver,
	"B11": lastService,
	"B12": trackingFull,
	"B13": datagramsMove,
	"B14": datagramsReturn,
	"B15": drained,
	"B17": linkAndAddress,
	"B18": hairpin,
	"B19": largePackets,
	"B20": manyInstances,
	"B21": settings,
}

// spoil does something to a node's rules again and again, under load. Owned tables do not notice; others are repaired, and
// what was under way in between may be lost.
func (r *run) spoil(times int, do func(w *integration.World, node *lab.Host)) {
	r.Helper()
	w := r.world(integration.Options{})
	p, a := r.probe(w), w.Agents[0]
	var repairs []time.Duration
	for n := range times {
		do(w, w.Nodes[0])
		if r.Owner != "auto" {
			took := w.Eventually(2*time.Second, "the rules are back", func() bool { return a.Metric("weir_agent_repairs_total") >= float64(n+1) })
			repairs = append(repairs, took)
			r.repaired(took)
		}
		p.more(20)
	}
	if r.Owner == "auto" {
		p.unharmed()
		require.Zero(r, a.Metric("weir_agent_repairs_total"))
		return
	}
	p.stop()
	slices.Sort(repairs)
	r.figure("t_repair_p50_ms", milliseconds(repairs[len(repairs)/2]))
	a.AwaitLog(" (pid ", 10*time.Second) // it names who it was
	w.Only(w.Nodes[0], p.tcp, p.addresses...)
	w.Only(w.Client, p.tcp, p.addresses...)
	require.Less(r, r.line.Repair, 1000.0) // the slowest of 20 is their p99
}

func flushRuleset(r *run) {
	r.spoil(20, func(w *integration.World, node *lab.Host) { w.NFT(node, "flush ruleset") })
}

// stockScript is what `systemctl restart nftables` does with the distribution's file.
func stockScript(r *run) {
	r.spoil(5, func(_ *integration.World, node *lab.Host) {
		_, err := node.Output("nft", "-f", "/etc/nftables.conf")
		require.NoError(r, err)
	})
}

// flushOrphan flushes while the agent is dead: then nobody protects its tables.
func flushOrphan(r *run) {
	w := r.world(integration.Options{})
	p, a, node := r.probe(w), w.Agents[0], w.Nodes[0]
	a.Kill()
	p.stop()
	w.NFT(node, "flush ruleset")
	require.Empty(r, strings.TrimSpace(r.ruleset(node)))
	load := integration.Load(p.tcp, 1)
	load.Timeout = 50 * time.Millisecond
	began := time.Now()
	a.Start()
	w.Eventually(5*time.Second, "the service is back", func() bool {
		got, err := lab.Flood(r.Context(), w.Client.Namespace, load)
		require.NoError(r, err)
		return got.Failed == 0
	})
	r.repaired(time.Since(began))
	w.Only(w.Client, p.tcp, p.addresses...)
	w.Only(node, p.tcp, p.addresses...)
	require.Less(r, r.line.Repair, 1000.0)
}

// byHand runs a script of somebody else's that changes our table. Where the kernel protects it the script is refused; else
// the change is repaired, with so many writes at most.
func (r *run) byHand(w *integration.World, script string, writes float64, sound func() bool) {
	r.Helper()
	a, node := w.Agents[0], w.Nodes[0]
	before, repairs := a.Metric("weir_agent_writes_total"), a.Metric("weir_agent_repairs_total")
	out, err := node.Output("nft", script)
	if r.Owner == "auto" {
		require.ErrorContains(r, err, "Operation not permitted", "%s: %s", script, out)
		require.True(r, sound(), script)
		return
	}
	require.NoError(r, err, script)
	r.repaired(w.Eventually(2*time.Second, "the change is repaired: "+script, func() bool {
		return a.Metric("weir_agent_repairs_total") > repairs && sound()
	}))
	written := a.Metric("weir_agent_writes_total") - before
	r.figure("writes", max(r.line.Figures["writes"], written))
	require.LessOrEqual(r, written, writes, script)
	a.AwaitLog("nft (pid ", 10*time.Second) // it names who it was
	require.Less(r, r.line.Repair, 1000.0)
}

func elementsByHand(r *run) {
	w := r.world(integration.Options{})
	p, node := r.probe(w), w.Nodes[0]
	good, frame := w.Slots(node), r.frame(node)
	sound := func() bool { return r.same(good, w.Slots(node)) && r.frame(node) == frame }
	set, key, data := r.element(node, p.tcp)
	for _, script := range []string{
		"delete element ip weir " + set + " { " + key + " }",
		"delete element ip weir " + set + " { " + key + " }; add element ip weir " + set + " { " + key + " : 192.168.10.250 . 81 }",
		"add element ip weir " + set + " { 10.10.99.1 . tcp . 80 . 0x00000000 : " + data + " }",
		"delete element ip weir vips { 10.10.0.1 }",
		"add element ip weir vips { 10.10.99.9 }",
	} {
		r.byHand(w, script, 2, sound)
	}
	p.stop()
	w.Only(w.Client, p.tcp, p.addresses...)
	if r.Owner == "auto" {
		require.Zero(r, p.result.Failed, "%s", p.result)
		require.Zero(r, r.line.LiveBroken)
	}
}

func foreignRule(r *run) {
	w := r.world(integration.Options{})
	p, node := r.probe(w), w.Nodes[0]
	frame := r.frame(node)
	sound := func() bool { return r.frame(node) == frame }
	for _, script := range []string{
		"insert rule ip weir prerouting accept",
		"add rule ip weir dispatch counter",
		"add chain ip weir mine { type filter hook forward priority 10; }",
		"add set ip weir mine { type ipv4_addr; }",
	} {
		r.byHand(w, script, 20, sound)
	}
	p.stop()
	w.Only(w.Client, p.tcp, p.addresses...)
	if r.Owner == "auto" {
		require.Zero(r, p.result.Failed, "%s", p.result)
	}
	require.Zero(r, r.line.LiveBroken)
}

// lostNotices has so much happen while the agent stands still that the kernel cannot keep all notices for it, and the
// change to our table comes last.
func lostNotices(r *run) {
	w := r.world(integration.Options{})
	p, a, node := r.probe(w), w.Agents[0], w.Nodes[0]
	good := w.Slots(node)
	set, key, _ := r.element(node, p.tcp)
	a.Signal(stopSignal)
	const chains, feeds = 30000, 4 // each is a notice when it comes, and one when it goes; long names fill the buffer sooner
	name := strings.Repeat("somebody-elses-", 12)
	text := strings.Builder{}
	text.WriteString("table ip other {\n")
	for i := range chains {
		fmt.Fprintf(&text, "chain %s%d { }\n", name, i)
	}
	text.WriteString("}\ndelete table ip other\n")
	for range feeds {
		feed := node.Command("nft", "-f", "-")
		feed.Stdin = strings.NewReader(text.String())
		require.NoError(r, node.Run(feed))
	}
	w.NFT(node, "delete element ip weir "+set+" { "+key+" }")
	began := time.Now()
	a.Signal(continueSignal)
	w.Eventually(5*time.Second, "all is compared and repaired", func() bool { return r.same(good, w.Slots(node)) })
	r.repaired(time.Since(began))
	r.figure("foreign_changes", 2*chains*feeds)
	a.AwaitLog("cause="+cluster.RepairLost, 10*time.Second)
	r.figure("drift_left", 0)
	p.stop()
	w.Only(w.Client, p.tcp, p.addresses...)
}

// flushIptables does what scripts do that begin with a clean table.
func flushIptables(r *run) {
	commands := []string{"iptables -F", "iptables -t nat -F", "iptables -t nat -F; iptables -t nat -X", "iptables -F; iptables -X", "iptables -t nat -D PREROUTING 1"}
	n := 0
	r.spoil(len(commands), func(_ *integration.World, node *lab.Host) {
		r.shell(node, commands[n])
		n++
	})
}

// switchDriver starts the agent with one driver after the other.
func switchDriver(r *run) {
	w := r.world(integration.Options{})
	p, a, node := r.probe(w), w.Agents[0], w.Nodes[0]
	args := a.Args
	left := map[string]string{
		"nft":    "nft list tables | grep -c 'table ip6\\? weir$' || true",
		"nft-i":  "(iptables-nft-save; ip6tables-nft-save) 2>/dev/null | grep -c WEIR || true",
		"legacy": "(iptables-legacy-save; ip6tables-legacy-save) 2>/dev/null | grep -c WEIR || true",
	}
	for _, to := range []struct {
		kind  string
		flags []string
	}{{"nft-i", []string{"--driver", "ipt", "--iptables", "nft"}}, {"legacy", []string{"--driver", "ipt", "--iptables", "legacy"}}, {"nft", []string{"--driver", "nft"}}} {
		a.Stop()
		a.Args = append(slices.Clone(args), to.flags...)
		began := time.Now()
		a.Start()
		a.AwaitReady(10 * time.Second)
		r.repaired(time.Since(began))
		for kind, count := range left {
			want := kind == to.kind
			w.Eventually(5*time.Second, to.kind+" is all that is there, not "+kind, func() bool { return (strings.TrimSpace(r.shell(node, count)) != "0") == want })
		}
		p.more(200)
		w.Publish(p.service(p.addresses[:2]...))
		w.Publish(p.service(p.addresses...))
	}
	r.figure("leftovers", 0)
	p.unharmed()
}
