package main

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
)

// answered is a half in which every connection took so many milliseconds.
func answered(ms int, failed int) (h half) {
	for range 100 {
		h.add(lab.Answer{ID: "0", Took: time.Duration(ms) * time.Millisecond})
	}
	for range failed {
		h.add(lab.Answer{Err: errors.New("refused")})
	}
	h.busy = []float64{0.6, 0.2}
	return h
}

func TestVerdicts(t *testing.T) {
	static := &outcome{before: answered(100, 0), after: answered(1000, 0)}
	met := func(adaptive outcome) (all []bool) {
		for _, row := range verdicts(static, &adaptive) {
			all = append(all, *row.Met)
		}
		return all
	}
	require.Equal(t, []bool{true, true, true}, met(outcome{before: answered(125, 0), after: answered(999, 0)}))
	require.Equal(t, []bool{false, false, true}, met(outcome{before: answered(126, 0), after: answered(1000, 0)}))
	require.Equal(t, []bool{true, true, false}, met(outcome{before: answered(100, 0), after: answered(1, 1)}))
	require.Equal(t, []bool{true, true, false}, met(outcome{before: answered(100, 1), after: answered(1, 0)}))
}

func TestHalfRow(t *testing.T) {
	row := answered(100, 3).row("x")
	require.Equal(t, "p50 100 ms, p99 100 ms, 3 of 103 failed, busy max/mean 1.50 (60/20 %), shares 100/0 %, the last failure: refused", row.Value)
	require.InDelta(t, 1.5, row.Numbers["busy_max_mean"], 1e-9)
	require.Equal(t, 3.0, row.Numbers["failed"])
	require.Equal(t, 1.0, row.Numbers["share_1"])
}

func TestBalanceIsMeasuredOnlyByName(t *testing.T) {
	balance := measurements[slices.IndexFunc(measurements, func(m measurement) bool { return m.name == "balance" })]
	require.False(t, options{}.wants(balance))
	require.True(t, options{}.wants(measurements[0]))
	require.True(t, options{only: []string{"balance"}}.wants(balance))
	require.False(t, options{only: []string{"balance"}}.wants(measurements[0]))
}
