package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A driver that there is not is refused before anything is looked at or written.
func TestDriverFlags(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--driver=ipvs":                    `--driver "ipvs": use auto, nft or ipt`,
		"--driver=ipt --iptables=xtables":  `--iptables "xtables": use auto, nft or legacy`,
		"--driver=nft --iptables=legacy":   "--iptables legacy is for the driver ipt: leave it out, or use --driver ipt",
		"--driver=ipvs --iptables=xtables": `use auto, nft or legacy`,
	} {
		for _, command := range []string{"rules show", "rules diff", "rules clean", "demo", "up", "agent"} {
			r := weir(t, newFake(), append(strings.Fields(command), strings.Fields(args)...)...)
			require.Equal(t, 2, r.code, "%s %s: %s", command, args, r.err)
			require.Contains(t, r.err, want, command)
		}
	}
	for want, d := range map[string]driverFlags{
		"":                {driver: "auto", iptables: "auto"},
		"iptables":        {driver: "ipt", iptables: "auto"},
		"iptables-legacy": {driver: "ipt", iptables: "legacy"},
	} {
		require.NoError(t, d.check())
		require.Equal(t, want, d.program())
	}
}
