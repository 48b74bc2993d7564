package ipt

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// TestPath follows packets through chains that are there, in the order in which they lead to each other.
func TestPath(t *testing.T) {
	t.Parallel()
	guarded := func(s *cluster.Service) { s.Sources = []netip.Prefix{netip.MustParsePrefix("10.30.0.0/24")} }
	sticky := func(s *cluster.Service) { s.Affinity = cluster.AffinitySource }
	want := rulestest.Ruleset(rules.Options{NoTables: true, KeepSource: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}},
		rulestest.Service("some", "10.10.1.1", 80, "192.168.10.100:80", "192.168.10.101:80"),
		rulestest.With(rulestest.Service("guarded", "10.10.1.2", 80, "192.168.10.100:80"), guarded),
		rulestest.Service("empty", "10.10.1.3", 80),
		rulestest.With(rulestest.With(rulestest.Service("sleeper", "10.10.1.5", 80), rulestest.Sleeper), guarded),
		rulestest.With(rulestest.Service("sticky", "10.10.1.4 fd10::4", 80, "192.168.10.100:80", "[fd00:10::100]:80"), sticky),
	)
	state, text := rules.NewState(), Text(want)
	state.Commit(rules.Diff(state, want))
	state.SlotOf, state.Path = slotOf, pathOf
	for _, c := range []struct {
		source, to string
		local      bool
		path       string // F and T stand for the frontend's chain, and that behind its guard
		ends       string
	}{
		{"10.1.1.1", "10.10.1.1:80", false, "PREROUTING WEIR-SERVICES-1 F WEIR-MASQ", "nobody excepts it: masquerade"},
		{"10.9.1.1", "10.10.1.1:80", false, "PREROUTING WEIR-SERVICES-1 F WEIR-MASQ", "its source is to be kept: return"},
		{"192.168.10.1", "10.10.1.1:80", true, "OUTPUT WEIR-SERVICES-1 F WEIR-FROM-NODE", "its source is this node: return"},
		{"10.10.1.1", "10.10.1.1:80", true, "OUTPUT WEIR-SERVICES-1 F WEIR-FROM-NODE", "its source is a VIP: masquerade"},
		{"10.30.0.9", "10.10.1.2:80", false, "PREROUTING WEIR-SERVICES-2 F T WEIR-MASQ", "masquerade"},
		{"10.31.0.9", "10.10.1.2:80", false, "PREROUTING WEIR-SERVICES-2 F WEIR-REFUSED WEIR-OTHER WEIR-INPUT WEIR-REFUSE", "tcp reset"},
		{"", "10.10.1.2:80", false, "PREROUTING WEIR-SERVICES-2 F", "which is not given"},
		{"10.1.1.1", "10.10.1.3:80", false, "PREROUTING WEIR-SERVICES-3 F WEIR-NO-ENDPOINT WEIR-OTHER WEIR-INPUT WEIR-REFUSE", "tcp reset"},
		{"10.1.1.1", "10.10.1.3:80/udp", true, "OUTPUT WEIR-SERVICES-3 WEIR-OTHER WEIR-INPUT WEIR-REFUSE", "reject with port unreachable"},
		{"10.30.0.9", "10.10.1.5:80", false, "PREROUTING WEIR-SERVICES-5 F T T WEIR-HOLD WEIR-INPUT", "drop"},
		{"10.30.0.9", "10.10.1.5:80", true, "OUTPUT WEIR-SERVICES-5 F T T WEIR-HOLD OUTPUT", "drop"},
		{"10.31.0.9", "10.10.1.5:80", false, "PREROUTING WEIR-SERVICES-5 F WEIR-REFUSED WEIR-OTHER WEIR-INPUT WEIR-REFUSE", "tcp reset"},
		{"10.1.1.1", "10.99.1.3:80", false, "PREROUTING WEIR-SERVICES", "neither a frontend nor a VIP"},
		{"10.1.1.1", "10.10.1.4:80", false, "PREROUTING WEIR-SERVICES-4 F WEIR-MASQ", "masquerade"},
		{"fd00::1", "[fd10::4]:80", false, "PREROUTING WEIR-SERVICES-4 F WEIR-MASQ", "masquerade"},
		{"", "[fd10::4]:80", false, "PREROUTING WEIR-SERVICES-4 F", "the target follows from the client's address, which is not given"},
	} {
		p := rules.Packet{To: rulestest.Frontend(c.to), Local: c.local}
		if c.source != "" {
			p.Source = netip.MustParseAddr(c.source)
		}
		v := rules.Trace(state, p)
		var chains []string
		for _, step := range v.Steps {
			chains = append(chains, step.Chain)
			require.Contains(t, text, ":"+step.Chain+" ", "%s to %s: %v", c.source, c.to, v.Steps)
		}
		names := strings.NewReplacer(chainOf(p.To), "F", behindGuard(p.To), "T")
		require.Equal(t, c.path, names.Replace(strings.Join(chains, " ")), "%s to %s", c.source, c.to)
		require.Contains(t, v.Steps[len(v.Steps)-1].What, c.ends, "%s to %s", c.source, c.to)
	}
}
