package rules

import (
	"cmp"
	"math/bits"
	"slices"
)

// The promise about weights of 1 to 1,000: a target's share of the slots differs from its share of the weights by at most
// half a point or a tenth of itself, whichever is more, on a node that is within its budget.
const (
	absoluteBound = 0.005
	relativeBound = 0.10
)

// steadySlots is what n targets get whose weights move: eight slots for each and at least 256, so that the rarest target's
// single slot (it gets one, however small its weight) is below half a point. A power of two, so that services share
// their chains.
func steadySlots(n int) int { return ceilPow2(max(256, 8*n)) }

// tightSlots is the same on a node that is over its budget.
func tightSlots(n int) int { return ceilPow2(2 * n) }

func ceilPow2(n int) int { return 1 << bits.Len(uint(n-1)) }

// apportion gives each positive weight its number of slots, at least one, in the order of the weights.
//
//	equal weights                          one each: exactly 1/n
//	reduced by their divisor, sum <= exact the reduced weights: exact
//	else                                   the smallest power of two up to most that keeps the promise, by largest
//	                                       remainder; most where none does
func apportion(weights []int, exact, most int) []int {
	divisor, sum := 0, 0
	for _, w := range weights {
		divisor = gcd(divisor, w)
		sum += w
	}
	if sum/divisor == len(weights) || sum/divisor <= exact {
		return scaled(weights, divisor)
	}
	for size := ceilPow2(len(weights)); size < most; size *= 2 {
		if slots := remainders(weights, size); withinBound(weights, slots) {
			return slots
		}
	}
	return remainders(weights, most)
}

// layout is how many slots each weight gets on a node that is within its budget, and on one that is over it. Moving
// weights keep their size, so that they move as data.
func layout(weights []int, moving bool) (loose, tight []int) {
	steady, least := steadySlots(len(weights)), tightSlots(len(weights))
	if moving {
		return remainders(weights, steady), remainders(weights, least)
	}
	// The single slots of many light targets can cost a heavy one more than the promise allows; twice the slots cannot.
	return apportion(weights, steady, 2*steady), apportion(weights, least, least)
}

func scaled(weights []int, divisor int) []int {
	slots := make([]int, len(weights))
	for i, w := range weights {
		slots[i] = w / divisor
	}
	return slots
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// remainders is the largest-remainder method with at least one slot for everybody: size must be at least len(weights).
func remainders(weights []int, size int) []int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	slots, owed, left := make([]int, len(weights)), make([]float64, len(weights)), size
	for i, w := range weights {
		quota := float64(w) * float64(size) / float64(sum)
		slots[i] = max(1, int(quota))
		owed[i] = quota - float64(slots[i])
		left -= slots[i]
	}
	order := make([]int, len(weights))
	for i := range order {
		order[i] = i
	}
	for left != 0 {
		// Everybody gets at most one more (or loses at most one) in a round, those first who are owed most (least).
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(owed[b], owed[a]) })
		for k := 0; k < len(order) && left != 0; k++ {
			if left > 0 {
				i := order[k]
				slots[i]++
				owed[i]--
				left--
			} else if i := order[len(order)-1-k]; slots[i] > 1 {
				slots[i]--
				owed[i]++
				left++
			}
		}
	}
	return slots
}

func withinBound(weights, slots []int) bool {
	w, s := 0, 0
	for i := range weights {
		w += weights[i]
		s += slots[i]
	}
	for i := range weights {
		want, have := float64(weights[i])/float64(w), float64(slots[i])/float64(s)
		if diff := max(want-have, have-want); diff > max(absoluteBound, relativeBound*want) {
			return false
		}
	}
	return true
}
