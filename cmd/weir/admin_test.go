package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAdminSaysWhatChanged(t *testing.T) {
	t.Parallel()
	f := cast(t)
	for _, step := range []struct {
		args string
		code int
		says string
	}{
		{"drain a 192.168.1.2", 0, "service a: 192.168.1.2:80 is drained, written at revision "},
		{"undrain a 192.168.1.2:80", 0, "service a: 192.168.1.2:80 is no longer drained, written at revision "},
		{"weight a 192.168.1.2:80 7", 0, "service a: 192.168.1.2:80 has weight 7, set by hand, written at revision "},
		{"weight a 192.168.1.2:80 --clear", 0, "service a: 192.168.1.2:80 has no weight set by hand any more, written at revision "},
		{"weight a 192.168.1.2:80 -1", 2, "error: weight -1 is outside 0..1000: "},
		{"weight a 192.168.1.2:80 -12", 2, "error: weight -12 is outside 0..1000: "},
		{"weight a 192.168.1.2:80 -x", 2, "see weir controlcenter weight --help"},
	} {
		r := weir(t, f, append([]string{"controlcenter"}, strings.Fields(step.args)...)...)
		require.Equal(t, step.code, r.code, r.err)
		require.Contains(t, r.err, step.says)
	}
}

func TestAdaptiveWarns(t *testing.T) {
	t.Parallel()
	for balance, warns := range map[string]bool{"adaptive": true, "static": false} {
		for _, more := range []string{"--no-wait", "--dry-run"} {
			r := weir(t, newFake(), "controlcenter", "publish", "a", "--vip", "10.10.1.1:80", "--instance", "192.168.1.1:80", "--balance", balance, more)
			require.Equal(t, 0, r.code, r.err)
			require.Equal(t, warns, strings.Contains(r.err, "warning: service a: balance adaptive: nothing moves the weights by itself yet: those of the file count"), r.err)
		}
	}
}
