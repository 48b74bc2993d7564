package rules

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// neighbours are n targets with addresses as they are: in one network.
func neighbours(first netip.Addr, n int, weight func(i int) int) (out []cluster.Target) {
	for i := range n {
		first = first.Next()
		out = append(out, cluster.Target{Address: netip.AddrPortFrom(first, 80), Weight: weight(i)})
	}
	return out
}

func tableCounts(table []netip.AddrPort) map[netip.AddrPort]int {
	counts := map[netip.AddrPort]int{}
	for _, target := range table {
		counts[target]++
	}
	return counts
}

// Every target gets its part, within the bounds, whatever the weights; also on a node that is over its budget.
func TestAffinityShares(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 120).Draw(t, "n")
		weight := rapid.SampledFrom([]*rapid.Generator[int]{rapid.Just(3), rapid.IntRange(1, 10), rapid.IntRange(1, 1000)}).Draw(t, "kind")
		list := neighbours(netip.AddrFrom4([4]byte{10, 20, byte(rapid.IntRange(0, 255).Draw(t, "network")), 0}), n, func(int) int { return weight.Draw(t, "weight") })
		loose, tight := affinitySlots(n)
		sum := 0
		for _, target := range list {
			sum += target.Weight
		}
		for _, size := range []int{loose, tight} {
			table := affinityTable(list, size)
			counts := tableCounts(table)
			require.Len(t, table, size)
			require.Zero(t, counts[netip.AddrPort{}], "empty slots")
			for _, target := range list {
				require.LessOrEqual(t, counts[target.Address], most(target.Weight, sum, size), "%v", target)
				require.GreaterOrEqual(t, counts[target.Address], least(target.Weight, sum, size), "%v", target)
			}
		}
	})
}

// When one of n goes, its own clients move, and at most 2 of 100 others. The numbers are printed with -v.
func TestAffinityRemovalMovesLittle(t *testing.T) {
	t.Parallel()
	for name, weight := range map[string]func(int) int{
		"equal":   func(int) int { return 1 },
		"unequal": func(i int) int { return []int{1, 2, 5, 10, 3}[i%5] },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, first := range []string{"192.168.10.99", "10.0.7.0", "fd00:10::100"} {
				for _, n := range []int{2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 26, 32, 51, 64, 76, 99, 100} {
					removal(t, neighbours(netip.MustParseAddr(first), n, weight))
				}
			}
		})
	}
}

func removal(t *testing.T, list []cluster.Target) {
	n, sum := len(list), 0
	for _, target := range list {
		sum += target.Weight
	}
	size, _ := affinitySlots(n)
	fewer, _ := affinitySlots(n - 1)
	before, worst := affinityTable(list, size), 0.0
	for _, gone := range slices.Compact([]int{0, n / 2, n - 1}) {
		after := affinityTable(slices.Delete(slices.Clone(list), gone, gone+1), fewer)
		require.Len(t, after, size, "another size is another table")
		moved := 0
		for i := range before {
			if before[i] != after[i] {
				moved++
			}
		}
		extra := float64(moved)/float64(size) - float64(list[gone].Weight)/float64(sum)
		require.LessOrEqual(t, extra, 0.02, "one of %d", n)
		worst = max(worst, extra)
	}
	t.Logf("one of %3d goes: beside its own part at most %.2f %% of all clients move", n, 100*worst)
}

// The order in which slots are settled is not part of the product.
func TestAffinityTableDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	list := neighbours(netip.MustParseAddr("fd00::1"), 30, func(i int) int { return 1 + i%4 })
	sum := 0
	for _, target := range list {
		sum += target.Weight
	}
	const size = 512
	forth, back := newRendezvous(list), newRendezvous(list)
	for slot := range size {
		forth.settle(slot, sum, size)
		back.settle(size-1-slot, sum, size)
	}
	require.Equal(t, forth.holds, back.holds)
}

func TestNegativeLog(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.Uint64Min(1).Draw(t, "hash")
		require.InDelta(t, 64-math.Log2(float64(h)), float64(negativeLog(h))/(1<<40), 1e-5)
	})
	require.InDelta(t, 64, float64(negativeLog(0))/(1<<40), 1e-5)
}

// The table is part of the product: another release that fills it otherwise would move every client.
func TestAffinityTableIsFixed(t *testing.T) {
	t.Parallel()
	list := []cluster.Target{
		{Address: netip.MustParseAddrPort("10.0.0.1:80"), Weight: 1},
		{Address: netip.MustParseAddrPort("10.0.0.2:80"), Weight: 2},
		{Address: netip.MustParseAddrPort("[fd00::1]:443"), Weight: 1},
	}
	h := uint64(0)
	for _, target := range affinityTable(list, 2048) {
		h = h*31 + hash(target, 0)
	}
	require.Equal(t, "aeb3f9f291761d34", fmt.Sprintf("%x", h))
}
