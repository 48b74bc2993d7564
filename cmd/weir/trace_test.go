package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

func TestTraceUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"10.10.1.1":                          "want IP:PORT",
		"10.10.1.1:80 --count 0":             "--count and --rate: want at least 1",
		"10.10.1.1:80 --rate -1":             "--count and --rate: want at least 1",
		"10.10.1.1:80 --timeout 0s":          "--timeout 0s: want a time to wait",
		"10.10.1.1:80 --table-owner perhaps": "use auto or off",
		"10.10.1.1:80 more":                  `"more" is an argument too many: want "weir trace VIP:PORT[/udp]"`,
		"10.10.1.1:80 -o yaml":               "use one of table, json",
	} {
		r := weir(t, newFake(), append([]string{"trace"}, strings.Fields(args)...)...)
		require.Equal(t, 2, r.code, "%s: %s", args, r.err)
		require.Contains(t, r.err, want, args)
	}
}

func TestNoFrontend(t *testing.T) {
	t.Parallel()
	parse := func(s string) cluster.Frontend {
		f, err := cluster.ParseFrontend(s)
		require.NoError(t, err)
		return f
	}
	var have []cluster.Frontend
	for _, s := range []string{"10.10.1.9:443", "[fd10::1]:80", "10.10.1.2:80", "10.10.1.1:81", "10.10.1.1:80/udp"} {
		have = append(have, parse(s))
	}
	require.EqualError(t, noFrontend(parse("10.10.1.1:80"), have),
		"this node's kernel does not hold 10.10.1.1:80: there is 10.10.1.1:80/udp, 10.10.1.1:81, 10.10.1.2:80; see weir rules show")
	require.ErrorContains(t, noFrontend(parse("[fd10::2]:80"), have), "there is [fd10::1]:80, 10.10.1.2:80, ")
	require.ErrorContains(t, noFrontend(parse("10.10.1.1:80"), nil), "holds no frontend at all")
}

func TestAttemptText(t *testing.T) {
	t.Parallel()
	a := rules.Attempt{
		Client: netip.MustParseAddrPort("192.168.10.50:40122"), Outcome: rules.Sent, Target: netip.MustParseAddrPort("192.168.10.101:80"),
		As: netip.MustParseAddrPort("192.168.10.1:7"), Steps: []rules.Step{{Chain: "prerouting", What: "jump dispatch"}, {Chain: "lb-4-3", What: "accept"}},
	}
	require.Equal(t, "192.168.10.50:40122 -> 192.168.10.101:80 as 192.168.10.1: prerouting > lb-4-3", attemptText(a))
	a = rules.Attempt{Client: a.Client, Local: true, Outcome: rules.Refused, Steps: []rules.Step{{Chain: "output", What: "jump dispatch"}, {Chain: "refuse", What: "reject"}}}
	require.Equal(t, "192.168.10.50:40122 (this node) refused: output > refuse: reject", attemptText(a))
}
