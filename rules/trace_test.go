package rules_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// built is the state of a kernel that holds these services.
func built(options rules.Options, config *cluster.Config, services ...*cluster.Service) *rules.State {
	draft, state := cluster.NewDraft(), rules.NewState()
	for i, s := range services {
		s.ModRevision = int64(i + 2)
		draft.Service(s.Name, s)
	}
	draft.Config(config)
	state.Commit(rules.Diff(state, rules.Build(nil, draft.Snapshot(9), options)))
	return state
}

func TestTrace(t *testing.T) {
	t.Parallel()
	sticky := service("sticky", "10.10.1.3", instance("192.168.10.1:80", 1), instance("192.168.10.2:80", 1))
	sticky.Affinity = cluster.AffinitySource
	some, shut := service("some", "10.10.1.4", instance("192.168.10.1:80", 1)), service("shut", "10.10.1.5")
	some.Sources, shut.Sources = prefixes("203.0.113.0/24"), prefixes("203.0.113.0/24")
	dual := service("dual", "fd10::1", instance("[fd00::1]:80", 1))
	state := built(
		rules.Options{KeepSource: prefixes("192.168.0.0/16", "172.16.0.0/16"), Links: prefixes("192.168.10.0/24")},
		&cluster.Config{VIPPools: prefixes("10.10.1.0/24", "fd10::/64")},
		service("web", "10.10.1.1", instance("192.168.10.1:80", 1), instance("192.168.10.2:80", 3)), service("empty", "10.10.1.2"), sticky, dual, some, shut,
	)
	for f, p := range built(rules.Options{}, nil, sleeper("sleeper", "10.10.1.6"), sleeper("restricted", "10.10.1.7", "203.0.113.0/24")).Placed {
		state.Placed[f] = p
	}
	broken := service("broken", "10.10.1.9", instance("192.168.10.1:80", 1), instance("192.168.10.2:80", 1))
	for f, p := range built(rules.Options{}, nil, broken).Placed {
		p.Slots = p.Slots[:1]
		state.Placed[f] = p
	}
	foreign, _ := cluster.ParseFrontend("10.10.1.10:80")
	state.Placed[foreign] = rules.Placement{Mode: rules.Unknown}

	unguarded, _ := cluster.ParseFrontend("10.10.1.11:80")
	state.Placed[unguarded] = rules.Placement{Guarded: true, Sources: prefixes("203.0.113.0/24")}

	const quarter = 1 << 30
	for _, c := range []struct {
		name, source, to string
		random           uint32
		local            bool
		outcome          rules.Outcome
		target           string
		masquerade       bool
		chains           string
	}{
		{"first slot", "203.0.113.1", "10.10.1.1:80", 0, false, rules.Sent, "192.168.10.1:80", true, "prerouting dispatch lb-4 masq"},
		{"end of the first slot", "203.0.113.1", "10.10.1.1:80", quarter - 1, false, rules.Sent, "192.168.10.1:80", true, "prerouting dispatch lb-4 masq"},
		{"second slot", "203.0.113.1", "10.10.1.1:80", quarter, false, rules.Sent, "192.168.10.2:80", true, "prerouting dispatch lb-4 masq"},
		{"last slot", "203.0.113.1", "10.10.1.1:80", 1<<32 - 1, false, rules.Sent, "192.168.10.2:80", true, "prerouting dispatch lb-4 masq"},
		{"from this node", "192.0.2.1", "10.10.1.1:80", 0, true, rules.Sent, "192.168.10.1:80", false, "output dispatch lb-4 masq"},
		{"with the VIP as source", "10.10.1.1", "10.10.1.1:80", 0, true, rules.Sent, "192.168.10.1:80", true, "output dispatch lb-4 masq"},
		{"replies pass this node", "172.16.0.1", "10.10.1.1:80", 0, false, rules.Sent, "192.168.10.1:80", false, "prerouting dispatch lb-4 masq"},
		{"a neighbour of the instance", "192.168.10.7", "10.10.1.1:80", 0, false, rules.Sent, "192.168.10.1:80", true, "prerouting dispatch lb-4 masq"},
		{"the instance itself", "192.168.10.1", "10.10.1.1:80", 0, false, rules.Sent, "192.168.10.1:80", true, "prerouting dispatch lb-4 masq"},
		{"affinity", "203.0.113.1", "10.10.1.3:80", 0, false, rules.Sent, "192.168.10.1:80", true, "prerouting dispatch lbh-2048 masq"},
		{"affinity does not draw", "203.0.113.1", "10.10.1.3:80", 1<<32 - 1, false, rules.Sent, "192.168.10.1:80", true, "prerouting dispatch lbh-2048 masq"},
		{"affinity of nobody", "", "10.10.1.3:80", 0, false, rules.Unclear, "", false, "prerouting dispatch lbh-2048"},
		{"admitted", "203.0.113.1", "10.10.1.4:80", 0, false, rules.Sent, "192.168.10.1:80", true, "prerouting dispatch guarded guarded lb-1 masq"},
		{"not admitted", "203.0.114.1", "10.10.1.4:80", 0, false, rules.Refused, "", false, "prerouting dispatch guarded guarded refuse"},
		{"not admitted, from this node", "192.0.2.1", "10.10.1.4:80", 0, true, rules.Refused, "", false, "output dispatch guarded guarded refuse"},
		{"admitted by nobody knows whom", "", "10.10.1.4:80", 0, false, rules.Unclear, "", false, "prerouting dispatch guarded"},
		{"admitted to nobody", "203.0.113.1", "10.10.1.5:80", 0, false, rules.Refused, "", false, "prerouting dispatch guarded guarded no-endpoint refuse"},
		{"admitted, but the guard was taken out", "203.0.113.1", "10.10.1.11:80", 0, false, rules.Refused, "", false, "prerouting dispatch guarded guarded refuse"},
		{"IPv6", "2001:db8::1", "[fd10::1]:80", 7, false, rules.Sent, "[fd00::1]:80", true, "prerouting dispatch lb-1 masq"},
		{"no target", "203.0.113.1", "10.10.1.2:80", 0, false, rules.Refused, "", false, "prerouting dispatch no-endpoint refuse"},
		{"no target yet", "203.0.113.1", "10.10.1.6:80", 0, false, rules.Held, "", false, "prerouting dispatch hold hold"},
		{"no target yet, from this node", "192.0.2.1", "10.10.1.6:80", 0, true, rules.Held, "", false, "output dispatch hold hold"},
		{"no target yet, admitted", "203.0.113.1", "10.10.1.7:80", 0, false, rules.Held, "", false, "prerouting dispatch guarded guarded hold hold"},
		{"no target yet, not admitted", "203.0.114.1", "10.10.1.7:80", 0, false, rules.Refused, "", false, "prerouting dispatch guarded guarded refuse"},
		{"no such port", "203.0.113.1", "10.10.1.1:81", 0, false, rules.Refused, "", false, "prerouting dispatch other refuse"},
		{"no such protocol, local", "203.0.113.1", "10.10.1.1:80/udp", 0, true, rules.Refused, "", false, "output dispatch other refuse"},
		{"no such protocol", "203.0.113.1", "10.10.1.1:80/udp", 0, false, rules.Refused, "", false, "prerouting dispatch other refuse"},
		{"unused address of the pool", "203.0.113.1", "10.10.1.200:80", 0, false, rules.Refused, "", false, "prerouting dispatch other refuse"},
		{"not ours", "203.0.113.1", "8.8.8.8:53/udp", 0, false, rules.Passes, "", false, "prerouting dispatch"},
		{"a slot is missing", "203.0.113.1", "10.10.1.9:80", 1<<32 - 1, false, rules.Dropped, "", false, "prerouting dispatch lb-2 lb-2"},
		{"somebody else's element", "203.0.113.1", "10.10.1.10:80", 0, false, rules.Unclear, "", false, "prerouting dispatch"},
	} {
		to, err := cluster.ParseFrontend(c.to)
		require.NoError(t, err, c.name)
		source, _ := netip.ParseAddr(c.source)
		v := rules.Trace(state, rules.Packet{Source: source, To: to, Random: c.random, Local: c.local})
		require.Equal(t, c.outcome, v.Outcome, c.name)
		target, _ := netip.ParseAddrPort(c.target)
		require.Equal(t, target, v.Target, c.name)
		require.Equal(t, c.masquerade, v.Masquerade, "%s: %v", c.name, v.Steps)
		var chains []string
		for _, s := range v.Steps {
			chains = append(chains, s.Chain)
			require.NotEmpty(t, s.What, c.name)
		}
		require.Equal(t, c.chains, strings.Join(chains, " "), c.name)
	}
}
