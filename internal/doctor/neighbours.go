package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-lb/weir/rules/nft"
)

// earlier: other programs' translation at our hooks. The first that translates a connection wins.
func earlier(h *Host) ([]Finding, error) {
	neighbours, err := h.Neighbours.get()
	if err != nil {
		return nil, err
	}
	state, _ := h.Rules.get()
	own := state.Driver == "ipt" // then iptables' chains are where our own rules are
	var first, beside []string
	for _, n := range neighbours {
		if own && n.Compat() || n.Kind != "nat" || n.Hook != "prerouting" && n.Hook != "output" {
			continue
		}
		switch name := fmt.Sprintf("%s %s (%s, %d)", n.Family, n.Table, n.Hook, n.Priority); {
		case n.Priority < nft.Priority:
			first = append(first, name)
		case n.Priority == nft.Priority:
			beside = append(beside, name)
		}
	}
	if legacy, err := h.Legacy.get(); err == nil && !own && slices.Contains(legacy, "nat") {
		beside = append(beside, "iptables-legacy nat")
	}
	var out []Finding
	const fix = "see that they do not name a VIP: nft list ruleset; iptables-save -t nat"
	if len(first) > 0 {
		out = append(out, one(Note, "they translate before Weir: a connection to a VIP that they claim never reaches Weir's rules", fix,
			"other programs translate earlier: %s", strings.Join(first, ", "))...)
	}
	if len(beside) > 0 {
		out = append(out, one(Note, "of equal ones the last to be loaded goes first: a connection to a VIP that they claim may never reach Weir's rules", fix,
			"other programs translate at the same place: %s", strings.Join(beside, ", "))...)
	}
	return out, nil
}

// mixed: rules of both iptables on one host are evaluated one after the other, and each listing shows only its own.
func mixed(h *Host) ([]Finding, error) {
	neighbours, err := h.Neighbours.get()
	if err != nil {
		return nil, err
	}
	legacy, err := h.Legacy.get()
	if err != nil {
		return nil, err
	}
	var compat []string
	for _, n := range neighbours {
		if n.Compat() && !slices.Contains(compat, n.Table) {
			compat = append(compat, n.Table)
		}
	}
	if len(legacy) == 0 || len(compat) == 0 {
		return nil, nil
	}
	return one(Warn, "both are in force, one after the other, and each program lists only its own: what one admits the other may drop",
		"move everything to one: iptables-legacy-save, then update-alternatives --config iptables, and empty the other",
		"rules of iptables-legacy (tables %s) and of iptables-nft (tables %s) are loaded together", strings.Join(legacy, ", "), strings.Join(compat, ", ")), nil
}

// firewalld flushes and loads tables on its own.
func firewalld(h *Host) ([]Finding, error) {
	running, err := h.Processes.get()
	if err != nil {
		return nil, err
	}
	neighbours, err := h.Neighbours.get()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(running, "firewalld") && !slices.ContainsFunc(neighbours, func(n nft.Neighbour) bool { return n.Table == "firewalld" }) {
		return nil, nil
	}
	return one(Note, "its zones decide what is forwarded, also to VIPs; a reload flushes the tables of iptables, never ours",
		"firewall-cmd --permanent --zone=trusted --add-source=CLIENTS, and an intra-zone forward: firewall-cmd --permanent --zone=ZONE --add-forward", "firewalld is active"), nil
}

// flushing: a file that empties the whole ruleset when it is loaded.
func flushing(h *Host) (out []Finding, err error) {
	found, err := h.Flushes.get()
	if err != nil {
		return nil, err
	}
	state, _ := h.Rules.get()
	for _, f := range found {
		severity, why := Warn, "whoever loads it removes Weir's rules: new connections fail until the agent has written them again"
		switch {
		case state.Owned:
			severity, why = Note, "the kernel keeps our tables from it while the agent lives; while no agent runs, the rules go with everybody else's"
		case !f.AtBoot:
			severity, why = Note, why+"; the service that loads it is not switched on"
		}
		out = append(out, one(severity, why, "replace it by \"delete table\" of the tables that this file makes, each after a \"table FAMILY NAME\" line so that it exists",
			"%s:%d says \"flush ruleset\"", f.File, f.Line)...)
	}
	return out, nil
}
