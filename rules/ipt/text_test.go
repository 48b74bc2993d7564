package ipt

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
	"github.com/weir-lb/weir/rules/rulestest"
)

// listed is what somebody else on the host sees, without comments.
func listed(t require.TestingT, ns int, v Variant, f *family) string {
	var b strings.Builder
	for _, table := range tables {
		out, err := rulestest.Inside(ns, "", f.program+"-"+string(v)+"-save", "-t", table)
		require.NoError(t, err, out)
		for line := range strings.Lines(out) {
			if !strings.HasPrefix(line, "#") {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}

func load(t require.TestingT, ns int, v Variant, f *family, text string, args ...string) {
	out, err := rulestest.Inside(ns, text, append([]string{f.program + "-" + string(v) + "-restore", "-w", "60"}, args...)...)
	require.NoError(t, err, "%s\n%s", out, text)
}

// Text is what a kernel lists that the driver wrote; it loads; and what it loads, the driver finds sound. Our rules
// thereby survive "iptables-save | iptables-restore", which many hosts do at each start.
func TestText(t *testing.T) {
	rulestest.Few(t, 10)
	for _, v := range variants {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(rt *rapid.T) {
				ns := rulestest.Namespace(t)
				clusters := rulestest.NewClusters()
				for range rapid.IntRange(1, 12).Draw(rt, "steps") {
					clusters.Next(rt)
				}
				options := rulestest.DrawOptions(rt)
				options.NoTables = true
				want := rules.Build(nil, clusters.Same(), options)
				d := open(v, ns)
				rulestest.Install(rt, d, want)
				for _, f := range families {
					require.Equal(rt, TextOf(f.name, want), listed(rt, ns, v, f))
					load(rt, ns, v, f, TextOf(f.name, want))
					require.Equal(rt, TextOf(f.name, want), listed(rt, ns, v, f), "loaded")
				}
				have, err := d.Read(t.Context())
				require.NoError(rt, err)
				require.Empty(rt, rules.Diff(have, want).String())
			})
		})
	}
}

func TestTextOfSCTP(t *testing.T) {
	t.Parallel()
	s := rulestest.With(rulestest.Service("s", "10.10.1.1", 80, "192.168.10.100:80"), func(s *cluster.Service) { s.Ports[0].Protocol = cluster.SCTP })
	text := Text(rulestest.Ruleset(rules.Options{}, s))
	require.Contains(t, text, "-d 10.10.1.1/32 -p sctp -m sctp --dport 80 -j WEIR-F-")
	require.Contains(t, text, `-p sctp -m comment --comment "1 of 1" -j DNAT --to-destination 192.168.10.100:80`)
}
