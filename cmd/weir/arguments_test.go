package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is wrong with the arguments is told with how the command is written.
func TestArguments(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`an argument is missing: want "weir describe service NAME": see weir describe service --help`:                                                                                            {"describe", "service"},
		`an argument is missing: want "weir controlcenter drain SERVICE INSTANCE": see`:                                                                                                          {"controlcenter", "drain", "a"},
		`"b" is an argument too many: want "weir get instances [NAME]": see weir get instances --help`:                                                                                           {"get", "instances", "a", "b"},
		`"a" is an argument too many: want "weir top": see weir top --help`:                                                                                                                      {"top", "a"},
		`"b" is an argument too many: want "weir report [REASON] [--ok | --fail | --leave | --back | --scale N]" or "weir report SERVICE --instance ID [--ok | --fail | --leave | --back]": see`: {"report", "a", "b"},
	} {
		r := weir(t, newFake(), args...)
		require.Equal(t, 2, r.code, r.err)
		require.Contains(t, r.err, want)
	}
}
