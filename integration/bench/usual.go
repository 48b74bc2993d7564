package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/nft"
)

// The usual way is the ruleset that kube-proxy's nftables mode writes: a verdict map from frontends to chains, a chain
// for each service that draws an instance through an anonymous map, and a chain for each instance that translates. Here
// it is one generated text for `nft -f`, which is the least that this layout costs: no listing, no comments, no cluster
// rules beside it.

// draw is how a service's chain chooses an instance's chain.
type draw func(endpoints []string) (rules []string)

// byMap is one rule with an anonymous map: kube-proxy's own form. Each such map makes later rules slower to add.
func byMap(endpoints []string) []string {
	var draws []string
	for j, name := range endpoints {
		draws = append(draws, fmt.Sprintf("%d : goto %s", j, name))
	}
	return []string{fmt.Sprintf("numgen random mod %d vmap { %s }", len(endpoints), strings.Join(draws, ", "))}
}

// byChance is a rule for each instance, with the probabilities 1/n, 1/(n-1), ..., 1: the form of its iptables mode. It
// loads faster.
func byChance(endpoints []string) (rules []string) {
	for j, name := range endpoints {
		chance := ""
		if left := len(endpoints) - j; left > 1 {
			chance = fmt.Sprintf("numgen random mod %d 0 ", left)
		}
		rules = append(rules, chance+"goto "+name)
	}
	return rules
}

// usualRows loads the same state in both usual forms, and once more our layout as text, so that what the layout gains
// and what it gains to write netlink directly can be told apart.
func usualRows(t *trial, services int, ours time.Duration) (rows []Row) {
	dir := t.dir()
	var ratios []Row
	for _, form := range []struct {
		name string
		draw draw
	}{{"a map per service", byMap}, {"a rule per instance", byChance}} {
		k := newKernel(t)
		took, cpu := loadText(t, k.ns, dir, usualText(services, form.draw))
		rows = append(rows,
			median(fmt.Sprintf("%d x %d the usual way, %s, nft -f", services, instancesEach, form.name), []time.Duration{took}).also(", CPU %.3g s", cpu.Seconds()),
			p50p99(fmt.Sprintf("the usual way, %s: one instance added at %d, nft -f", form.name, services), usualAdds(t, k.ns, dir, services, form.draw)))
		k.close(t)
		ratios = append(ratios, compared(services, form.name, took.Seconds()/ours.Seconds()))
	}
	if services == 10_000 { // the target speaks of kube-proxy's own form
		ratios[0] = ratios[0].want(">= 20 x", ratios[0].Numbers["ratio"] >= 20)
	}
	k := newKernel(t)
	want := rules.Build(nil, draft(services, 0).Snapshot(1<<40), rules.Options{})
	asText, _ := loadText(t, k.ns, dir, nft.Text(want))
	k.close(t)
	rows = append(rows, median(fmt.Sprintf("%d x %d in our layout, but nft -f", services, instancesEach), []time.Duration{asText}))
	return append(rows, ratios...)
}

func compared(services int, form string, ratio float64) Row {
	return Row{
		What: fmt.Sprintf("%d x %d: times faster than the usual way, %s", services, instancesEach, form), Value: fmt.Sprintf("%.1f x", ratio),
		Numbers: map[string]float64{"ratio": ratio},
	}
}

// loadText has nft load a text, and returns the time from start to end and the processor time of nft.
func loadText(t *trial, ns *lab.Namespace, dir, text string) (took, cpu time.Duration) {
	file := filepath.Join(dir, "rules.nft")
	t.must(os.WriteFile(file, []byte(text), 0o600))
	cmd := ns.Command("nft", "-f", file)
	cmd.Stderr = t.log
	start := time.Now()
	t.must(ns.Start(cmd))
	defer time.AfterFunc(10*time.Minute, func() { _ = cmd.Process.Kill() }).Stop()
	defer stopWith(t, cmd.Process)()
	t.must(cmd.Wait())
	return time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

// stopWith ends a process when somebody stops the program; the returned function releases it.
func stopWith(t *trial, p *os.Process) (release func()) {
	done := make(chan struct{})
	go func() {
		select {
		case <-t.ctx.Done():
			_ = p.Kill()
		case <-done:
		}
	}()
	return func() { close(done) }
}

func usualText(services int, how draw) string {
	var frontends, chains, rulesOf strings.Builder
	for i := range services {
		s := serviceOf(i)
		fmt.Fprintf(&frontends, "%s . tcp . 80 : goto service-%d,\n", s.VIPs[0], i)
		var each []string
		for j, inst := range s.Instances {
			name := fmt.Sprintf("endpoint-%d-%d", i, j)
			each = append(each, name)
			fmt.Fprintf(&chains, "add chain ip usual %s\n", name)
			rulesOf.WriteString(endpointRules(name, inst.Addr.String()))
		}
		fmt.Fprintf(&chains, "add chain ip usual service-%d\n", i)
		rulesOf.WriteString(drawRules(i, how(each)))
	}
	return `add table ip usual
add chain ip usual mark-for-masquerade
add rule ip usual mark-for-masquerade mark set mark or 0x4000
` + chains.String() + "add map ip usual service-ips { type ipv4_addr . inet_proto . inet_service : verdict; elements = {\n" + frontends.String() + `} }
add chain ip usual nat-prerouting { type nat hook prerouting priority dstnat; }
add chain ip usual nat-output { type nat hook output priority -100; }
add chain ip usual nat-postrouting { type nat hook postrouting priority srcnat; }
add rule ip usual nat-prerouting ip daddr . meta l4proto . th dport vmap @service-ips
add rule ip usual nat-output ip daddr . meta l4proto . th dport vmap @service-ips
add rule ip usual nat-postrouting mark and 0x4000 != 0 masquerade fully-random
` + rulesOf.String()
}

func endpointRules(chain, address string) string {
	return fmt.Sprintf("add rule ip usual %[1]s ip saddr %[2]s jump mark-for-masquerade\nadd rule ip usual %[1]s meta l4proto tcp dnat to %[2]s:8080\n", chain, address)
}

func drawRules(service int, rules []string) string {
	var b strings.Builder
	for _, rule := range rules {
		fmt.Fprintf(&b, "add rule ip usual service-%d %s\n", service, rule)
	}
	return b.String()
}

// usualAdds gives a sixth instance to a few services, one after the other: its chain, and the service's rule anew.
func usualAdds(t *trial, ns *lab.Namespace, dir string, services int, how draw) (took []time.Duration) {
	for n := range pick(t, 20, 5) {
		i := n * 37 % services
		endpoints := []string{}
		for j := range instancesEach + 1 {
			endpoints = append(endpoints, fmt.Sprintf("endpoint-%d-%d", i, j))
		}
		added := endpoints[instancesEach]
		text := "add chain ip usual " + added + "\n" + endpointRules(added, plus(fresh, n).String()) +
			fmt.Sprintf("flush chain ip usual service-%d\n", i) + drawRules(i, how(endpoints))
		one, _ := loadText(t, ns, dir, text)
		took = append(took, one)
	}
	return took
}
