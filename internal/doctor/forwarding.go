package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// forwarding: routed clients, and instances elsewhere, need the node to pass packets on.
func forwarding(h *Host) (out []Finding, err error) {
	const why = "connections of routed clients to VIPs time out: only clients on this node work"
	v4, v6 := h.families()
	if v4 && h.Sysctls.number("net/ipv4/ip_forward") == 0 {
		out = append(out, one(Warn, why, set("net/ipv4/ip_forward", 1)+lasting, "net.ipv4.ip_forward is 0")...)
	}
	if v6 && h.Sysctls.number("net/ipv6/conf/all/forwarding") == 0 {
		out = append(out, one(Warn, why, set("net/ipv6/conf/all/forwarding", 1)+lasting, "net.ipv6.conf.all.forwarding is 0")...)
	}
	links, err := h.Links.get()
	if err != nil || h.Sysctls.number("net/ipv4/ip_forward") != 1 || !v4 {
		return out, err
	}
	for _, l := range links {
		if l.routed() && h.Sysctls.link(l.Name, "forwarding") == 0 {
			out = append(out, one(Warn, "connections of routed clients that come in there time out", setLink(l.Name, "forwarding", 1)+lasting,
				"forwarding is off on interface %s", l.Name)...)
		}
	}
	return out, nil
}

// routed says whether packets of others may come in over the link.
func (l Link) routed() bool {
	return l.Up && l.Name != "lo" && slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return p.Addr().Is4() })
}

// localnet: with route_localnet a neighbour on the link can talk to what listens on 127.0.0.1 (CVE-2020-8558).
func localnet(h *Host) ([]Finding, error) {
	if h.Sysctls.link("all", "route_localnet") == 1 {
		return one(Warn, "every neighbour on a link can reach what listens on 127.0.0.1; Weir never needs it", setLink("all", "route_localnet", 0)+
			"; find out who sets it (kube-proxy does for node ports)", "route_localnet is on for all interfaces"), nil
	}
	var out []Finding
	for _, link := range h.linksWith("route_localnet") {
		if h.Sysctls.link(link, "route_localnet") == 1 {
			out = append(out, one(Warn, "neighbours on that link can reach what listens on 127.0.0.1; Weir never needs it", setLink(link, "route_localnet", 0),
				"route_localnet is on for interface %s", link)...)
		}
	}
	return out, nil
}

// linksWith are the interfaces that have a setting.
func (h *Host) linksWith(name string) (out []string) {
	for key := range h.Sysctls {
		if rest, ok := strings.CutPrefix(key, "net/ipv4/conf/"); ok && strings.HasSuffix(rest, "/"+name) {
			if link := strings.TrimSuffix(rest, "/"+name); link != "all" {
				out = append(out, link)
			}
		}
	}
	slices.Sort(out)
	return out
}

// reversePath: a strict filter drops what comes in another way than it would go out.
func reversePath(h *Host) ([]Finding, error) {
	links, err := h.Links.get()
	if err != nil {
		return nil, err
	}
	var strict []string
	routed := 0
	for _, l := range links {
		if !l.routed() {
			continue
		}
		routed++
		// The kernel takes the higher of the two.
		if max(h.Sysctls.link(l.Name, "rp_filter"), h.Sysctls.link("all", "rp_filter")) == 1 {
			strict = append(strict, l.Name)
		}
	}
	if len(strict) == 0 {
		return nil, nil
	}
	seen := fmt.Sprintf("rp_filter is 1 (strict) on %s", strings.Join(strict, ", "))
	if routed < 2 {
		return one(Note, "nothing on a node with one way out; with a second one, answers of instances that come in another way are dropped", "none is needed", "%s", seen), nil
	}
	fix := set("net/ipv4/conf/all/rp_filter", 2) + lasting + "; or make the routes symmetric"
	return one(Warn, "the node has several ways out: what comes in another way than it would go out is dropped in silence, and the connection times out", fix, "%s", seen), nil
}

// redirects: where clients and instances share a link, the kernel tells the clients of a shorter way that there is not.
func redirects(h *Host) ([]Finding, error) {
	links, err := h.Links.get()
	if err != nil || h.Sysctls.number("net/ipv4/ip_forward") != 1 {
		return nil, err
	}
	var sending []string
	for _, l := range links {
		if l.routed() && max(h.Sysctls.link(l.Name, "send_redirects"), h.Sysctls.link("all", "send_redirects")) == 1 {
			sending = append(sending, l.Name)
		}
	}
	if len(sending) == 0 {
		return nil, nil
	}
	const why = "where a client reaches the node over the link that leads to the instance, the redirects use up the kernel's allowance of ICMP messages, " +
		"and refused UDP clients are told later"
	fix := setLink("all", "send_redirects", 0) + " and the same for each interface" + lasting
	return one(Note, why, fix, "the node sends ICMP redirects on %s", strings.Join(sending, ", ")), nil
}

// bridged: translation inside a bridge.
func bridged(h *Host) ([]Finding, error) {
	links, err := h.Links.get()
	if err != nil {
		return nil, err
	}
	var bridges []string
	for _, l := range links {
		if l.Kind == "bridge" && l.Up && l.Ports > 0 {
			bridges = append(bridges, l.Name)
		}
	}
	if len(bridges) == 0 {
		return nil, nil
	}
	names := strings.Join(bridges, ", ")
	switch v4, v6 := h.Sysctls.number("net/bridge/bridge-nf-call-iptables"), h.Sysctls.number("net/bridge/bridge-nf-call-ip6tables"); {
	case v4 == 1 || v6 == 1:
		return one(Note, "packets between the ports of "+names+" are translated inside the bridge: an instance there reaches itself through its VIP only with hairpin mode on its port",
			"bridge link set dev PORT hairpin on", "bridge-nf-call-iptables is on, and %s has ports", names), nil
	case v4 == 0:
		return one(Note, "packets between the ports of "+names+" pass no rules: with --keep-source, answers of an instance to a client on the same bridge are not translated back, and the connection fails",
			"leave the clients of that bridge out of --keep-source, or "+set("net/bridge/bridge-nf-call-iptables", 1), "bridge-nf-call-iptables is 0, and %s has ports", names), nil
	}
	return nil, nil // no bridge netfilter: as 0, which is what most hosts have
}
