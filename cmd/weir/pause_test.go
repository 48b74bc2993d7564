package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/controlcenter/storetest"
)

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
	require.Contains(t, weir(t, f, "resume").err, "not paused already")
	require.Equal(t, 2, weir(t, f, "pause", "now").code)
	f.Fail(storetest.ErrUnreachable)
	require.Equal(t, 5, weir(t, f, "pause").code)
}
