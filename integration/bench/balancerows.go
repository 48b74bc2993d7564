package main

import (
	"fmt"
	"slices"
	"strings"
)

// p99 of the connections that were answered, in milliseconds.
func (h half) p99() float64 { return millis(quantile(slices.Sorted(slices.Values(h.took)), 0.99)) }

// row says what a client saw, and how evenly the instances were busy.
func (h half) row(what string) Row {
	row := p50p99(what, h.took)
	row.Value = fmt.Sprintf("p50 %.3g ms, p99 %.3g ms, %d of %d failed", row.Numbers["p50_ms"], row.Numbers["p99_ms"], h.failed, h.failed+len(h.took))
	sum := 0.0
	for i, b := range h.busy {
		sum += b
		row.Numbers[fmt.Sprintf("busy_%d", i+1)] = b
		row.Numbers[fmt.Sprintf("share_%d", i+1)] = float64(h.byID[fmt.Sprint(i)]) / float64(len(h.took))
	}
	spread := slices.Max(h.busy) / (sum / float64(len(h.busy)))
	row.Numbers["failed"], row.Numbers["busy_max_mean"] = float64(h.failed), spread
	var busy, shares []string
	for i, b := range h.busy {
		busy = append(busy, fmt.Sprintf("%.0f", 100*b))
		shares = append(shares, fmt.Sprintf("%.0f", 100*row.Numbers[fmt.Sprintf("share_%d", i+1)]))
	}
	row = row.also(", busy max/mean %.2f (%s %%), shares %s %%", spread, strings.Join(busy, "/"), strings.Join(shares, "/"))
	if h.why != nil {
		row = row.also(", the last failure: %v", h.why)
	}
	return row
}

// verdicts compare adaptive with static, whose weights are true before the hog.
func verdicts(static, adaptive *outcome) []Row {
	before, after := adaptive.before.p99()/static.before.p99(), adaptive.after.p99()/static.after.p99()
	failed := adaptive.before.failed + adaptive.after.failed
	ratio := func(what string, r float64) Row {
		return Row{What: what, Value: fmt.Sprintf("%.2f x", r), Numbers: map[string]float64{"ratio": r}}
	}
	return []Row{
		ratio("p99 of adaptive by that of static, before the hog", before).want("<= 1.25 x", before <= 1.25),
		ratio("p99 of adaptive by that of static, with the hog", after).want("< 1 x", after < 1),
		Row{What: "connections that failed under adaptive", Value: fmt.Sprint(failed), Numbers: map[string]float64{"failed": float64(failed)}}.want("0", failed == 0),
	}
}

func writes(adaptive *outcome) Row {
	n := float64(len(adaptive.decisions))
	return Row{What: "weights written under adaptive, warm-up included", Value: fmt.Sprintf("%g times", n), Numbers: map[string]float64{"writes": n}}
}
