package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSimulate(t *testing.T) {
	t.Parallel()
	run := func(args ...string) result {
		return weir(t, newFake(), append([]string{"simulate", "--for", "2m"}, args...)...)
	}
	r := run()
	require.Equal(t, 0, r.code, r.err)
	lines := strings.Split(r.out, "\n")
	require.Equal(t, "speeds [1 0.7 0.5], load 60 %, work 5ms at speed 1, 2m0s after a warm-up of 1m0s, seed 1", lines[0])
	require.Equal(t, "POLICY P50 MS P99 MS BUSY MAX/MEAN WRITES SHARES", strings.Join(strings.Fields(lines[1]), " "))
	require.Contains(t, r.out, "\nstatic ")
	require.Equal(t, r, run(), "the same seed gives the same")
	require.NotEqual(t, r.out, run("--seed", "2").out)
	require.Contains(t, run("--neighbour", "1", "--neighbour-at", "10s").out, "WITH NEIGHBOUR")
}

func TestSimulateAsData(t *testing.T) {
	t.Parallel()
	r := weir(t, newFake(), "simulate", "-o", "json")
	require.Equal(t, 0, r.code, r.err)
	var data struct {
		Policies []struct {
			Name        string
			P50         float64 `json:"p50_ms"`
			P99         float64 `json:"p99_ms"`
			BusyMaxMean float64 `json:"busy_max_mean"`
		}
	}
	require.NoError(t, json.Unmarshal([]byte(r.out), &data))
	require.Len(t, data.Policies, 3)
	uniform, static, adaptive := data.Policies[0], data.Policies[1], data.Policies[2]
	require.Equal(t, []string{"uniform", "static", "adaptive"}, []string{uniform.Name, static.Name, adaptive.Name})
	require.Less(t, adaptive.P99, uniform.P99/2)
	require.Less(t, adaptive.P99, 1.05*static.P99)
	require.Less(t, adaptive.BusyMaxMean, 1.05)
	require.Greater(t, uniform.BusyMaxMean, 1.3)
	require.Positive(t, adaptive.P50)
}

func TestSimulateRefuses(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--speeds 0":                                  "speed 0 is outside 0.01..100",
		"--speeds 1 --neighbour 2":                    "there is no instance 2 for the neighbour",
		"--load 60":                                   "load 60 is outside 0..2: 0.6 means 60 %",
		"--work 0s --lost 2":                          "lost 2 is outside 0..1",
		"--work 1us":                                  "requests are more than 5e+07: shorten it",
		"--neighbour 1 --neighbour-leaves 0":          "a neighbour that leaves 0 is outside 0.01..1",
		"--neighbour 1 --neighbour-at -1s":            "the neighbour's times are not negative",
		"--neighbour 1 --for 1m":                      "the neighbour comes after 2m0s, when the 1m0s that are measured are over: give --neighbour-at",
		"--for 0s":                                    "--work and --for are more than 0, --warmup and --keep-alive not less",
		"--speeds " + strings.Repeat("1,", 250) + "1": "251 speeds: give 1 to 250",
		"--load NaN":                                  "load NaN is outside",
	} {
		r := weir(t, newFake(), append([]string{"simulate"}, strings.Fields(args)...)...)
		require.Equal(t, 2, r.code, args)
		require.Contains(t, r.err, want, args)
		require.Empty(t, r.out, args)
	}
}
