package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDemoRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--story rules":                      `there is no story "rules": there are balance and scale`,
		"--story scale --connections 3":      "--connections is for the story balance",
		"--quick":                            "--quick is for the story scale",
		"-o yaml":                            `there is no output "yaml": use text or json`,
		"--connections 0":                    "--connections 0 is outside 1..25000",
		"--story scale --driver none":        `--driver "none"`,
		"--story scale --iptables=nft extra": `"extra" is an argument too many: want "weir demo": see weir demo --help`,
	} {
		r := weir(t, newFake(), append([]string{"demo"}, strings.Fields(args)...)...)
		require.Equal(t, 2, r.code, "%s: %s", args, r.err)
		require.Contains(t, r.err, want, args)
	}
}
