package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

// completed is what the shell would offer: the lines without descriptions, and the directive (4: no names of files).
func completed(t *testing.T, f *fake, args ...string) string {
	t.Helper()
	r := weir(t, f, append([]string{"__completeNoDesc"}, args...)...)
	require.Equal(t, 0, r.code, r.err)
	return strings.Join(strings.Fields(r.out), " ")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	f := cast(t)
	f.Edit(func(d *cluster.Draft) { d.Node("n2", &cluster.Node{}) })
	for args, want := range map[string]string{
		"controlcenter withdraw ":                "a b :4",
		"controlcenter withdraw a ":              ":4",
		"controlcenter drain ":                   "a b :4",
		"controlcenter drain x ":                 ":4",
		"controlcenter drain a ":                 "192.168.1.1:80 192.168.1.2:80 192.168.1.3:80 :4",
		"controlcenter undrain a 192.168.1.2":    "192.168.1.2:80 :4",
		"controlcenter weight a 192.168.1.2:80 ": ":4",
		"controlcenter publish ":                 ":4",
		"controlcenter publish a --balance ":     "uniform static adaptive :4",
		"controlcenter publish a --affinity ":    "none source :4",
		"controlcenter publish -f ":              ":0",
		"controlcenter publish a --vip ":         ":4",
		"get services ":                          "a b :4",
		"get service b":                          "b :4",
		"get instances ":                         "a b :4",
		"get nodes ":                             "n1 n2 :4",
		"events ":                                "a b :4",
		"describe service ":                      "a b :4",
		"describe service a ":                    ":4",
		"describe service -o ":                   "text json yaml :4",
		"top --sort ":                            "rate busy drift status name :4",
		"top ":                                   ":4",
		"events a ":                              ":4",
		"get nodes -o ":                          "table wide json yaml name :4",
		"rbac n1 ":                               "n2 :4",
		"explain ":                               "local :4",
		"explain local ":                         "10.10.1.1:80 10.10.1.2:53/udp :4",
		"explain --node ":                        "n1 n2 :4",
		"agent --table-owner ":                   "auto off :4",
		"agent --log-format ":                    "text json :4",
		"up --log-level ":                        "debug info warn error :4",
		"demo --story ":                          "balance scale :4",
		"demo -o ":                               "text json :4",
		"version ":                               ":4",
		"get services --etcd-ca ":                ":0",
		"get services --etcd-user ":              ":4",
		"completion ":                            "bash fish powershell zsh :4",
	} {
		require.Equal(t, want, completed(t, f, strings.Split(args, " ")...), args)
	}
	require.Contains(t, weir(t, f, "__complete", "controlcenter", "drain", "a", "").out, "192.168.1.1:80\tdead, weight 0\n")
}

func TestCompletionWithoutEtcd(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.Fail(storetest.ErrUnreachable)
	for _, args := range []string{"get services ", "controlcenter drain a ", "get nodes ", "explain local "} {
		r := weir(t, f, append([]string{"__complete"}, strings.Split(args, " ")...)...)
		require.Equal(t, []any{0, ":4\n"}, []any{r.code, r.out}, args)
		require.NotContains(t, r.err, "rror", args)
	}
}

func TestCompletionThroughTheLink(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"completion bash":        "completion bash",
		"__complete ":            "__complete controlcenter ",
		"__complete drain a ":    "__complete controlcenter drain a ",
		"__complete completion ": "__complete completion ",
	} {
		args := append([]string{"/usr/bin/controlcenter"}, strings.Split(line, " ")...)
		require.Equal(t, strings.Split(want, " "), subcommands(args), line)
	}
	var out, talk bytes.Buffer
	a := newApp(strings.NewReader(""), &out, &talk)
	require.Equal(t, 0, a.execute(t.Context(), []string{"controlcenter", "completion", "bash"}), talk.String())
	require.Contains(t, out.String(), "complete -o default -F __start_controlcenter controlcenter")
	out.Reset()
	require.Equal(t, 0, newApp(nil, &out, &talk).execute(t.Context(), []string{"controlcenter", "__complete", ""}))
	require.Contains(t, out.String(), "withdraw\tRemove a service\n")
	require.NotContains(t, out.String(), "agent")
}

func TestCompletionOfAnUnknownShell(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"completion", "foo"}, {"completion"}} {
		r := weir(t, newFake(), args...)
		require.Equal(t, []any{2, ""}, []any{r.code, r.out}, args)
	}
}
