package ipt

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// FuzzListing reads foreign text as what iptables-save says. It never panics, is never made to hold much, and what it takes
// for ours is what we would have written.
func FuzzListing(f *testing.F) {
	d := cluster.NewDraft()
	for i, affinity := range []cluster.Affinity{cluster.AffinityNone, cluster.AffinitySource} {
		s := &cluster.Service{
			Name: string(rune('a' + i)), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 10, 0, byte(i + 1)})}, Affinity: affinity,
			Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
		}
		for _, address := range []string{"192.0.2.1:80", "192.0.2.2:80"} {
			instance, err := cluster.ParseInstance(address)
			require.NoError(f, err)
			s.Instances = append(s.Instances, instance)
		}
		d.Service(s.Name, s)
	}
	f.Add(Text(rules.Build(nil, d.Snapshot(1), rules.Options{NoTables: true, Node: "n"})))
	f.Add("*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j WEIR-DISPATCH\n-A WEIR-DISPATCH -d 10.10.0.1/32 -p tcp -m tcp --dport 80 -j WEIR-F-x\n")
	f.Add("-A WEIR-F-x -p tcp -m comment --comment \"99999999999999999999 of 1\" -j DNAT --to-destination 1.2.3.4:5\n-A \n:\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, table := range tables {
			l := parseListing(table, text)
			for _, family := range families {
				for chain, have := range l {
					require.True(t, strings.HasPrefix(chain, ours) || builtin(table, chain))
					for _, p := range family.parseSet(have) {
						require.True(t, family.has(p.Addr()))
					}
					for _, rule := range have {
						family.parseListener(rule)
						_, _ = family.parseSource(rule)
						if p, ok := family.parseVIP(rule); ok {
							require.Equal(t, p.Masked(), p)
						}
						if frontend, ok := family.parseEntry(rule); ok {
							require.Equal(t, rule, entryOf(frontend))
							require.LessOrEqual(t, l.placement(frontend).Size, maxSlots)
						}
					}
				}
			}
		}
	})
}
