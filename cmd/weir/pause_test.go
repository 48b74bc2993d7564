package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/controlcenter/storetest"
)

// A file that says nothing of the pause does not end it.
func TestConfigKeepsThePause(t *testing.T) {
	t.Parallel()
	f := cast(t)
	set := func(text string) result { return weirWith(t, f, text, "controlcenter", "config", "-f", "-") }
	now := func() string { return weir(t, f, "controlcenter", "config").out }
	require.NotContains(t, set("vip_pools: [10.10.0.0/16]\n").err, "paused")
	require.Equal(t, 0, weir(t, f, "pause").code)
	r := set("vip_pools: [10.10.0.0/15]\n")
	require.Equal(t, 0, r.code, r.err)
	require.Contains(t, r.err, "automatic decisions stay paused, as the file does not say otherwise")
	require.Equal(t, "paused: true\nvip_pools:\n- 10.10.0.0/15\n", now())
	require.Contains(t, set("{}").err, "stay paused")
	require.Equal(t, "paused: true\n", now())
	require.Contains(t, set("paused: null").err, "stay paused")
	require.Contains(t, set("paused: false\n").err, "automatic decisions are not paused, as the file says")
	require.Equal(t, "{}\n", now())
	require.Contains(t, set("paused: true\n").err, "automatic decisions are paused, as the file says")
	require.Equal(t, "paused: true\n", now())
	require.NotContains(t, set("paused: true\n").err, "as the file says")
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	f := cast(t)
	require.Equal(t, 0, weirWith(t, f, "vip_pools: [10.10.0.0/16]\n", "controlcenter", "config", "-f", "-").code)
	r := weir(t, f, "pause")
	require.Equal(t, 0, r.code, r.err)
	require.Regexp(t, `^automatic decisions are paused, written at revision \d+\n$`, r.err)
	require.Equal(t, "paused: true\nvip_pools:\n- 10.10.0.0/16\n", weir(t, f, "controlcenter", "config").out, "the rest stays")
	require.Contains(t, weir(t, f, "get", "services").err, "warning: automatic decisions are paused: see weir resume")
	writes := f.Writes()
	require.Contains(t, weir(t, f, "controlcenter", "pause").err, "are paused already")
	require.Equal(t, writes, f.Writes())
	require.Contains(t, weir(t, f, "controlcenter", "resume").err, "not paused, written")
	require.Equal(t, "vip_pools:\n- 10.10.0.0/16\n", weir(t, f, "controlcenter", "config").out)
	require.NotContains(t, weir(t, f, "get", "services").err, "paused")
	require.Contains(t, weir(t, f, "resume").err, "automatic decisions were not paused\n")
	require.Equal(t, 2, weir(t, f, "pause", "now").code)
	const stops = "No instance is placed"
	require.Contains(t, weir(t, f, "pause", "--help").out, stops)
	require.NotContains(t, weir(t, f, "resume", "--help").out, stops)
	f.Fail(storetest.ErrUnreachable)
	require.Equal(t, 5, weir(t, f, "pause").code)
}
