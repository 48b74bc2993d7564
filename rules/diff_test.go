package rules

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

var frontend = cluster.Frontend{VIP: netip.MustParseAddr("10.10.1.128"), Proto: cluster.TCP, Port: 8080}

// letter is the target x, y or z; "." is none.
func letter(r rune) netip.AddrPort {
	if r == '.' {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r)}), 80)
}

func letters(s string) (out []netip.AddrPort) {
	for _, r := range s {
		out = append(out, letter(r))
	}
	return out
}

// placement reads "" (absent), "-" (refuse), "xyy", or "xy+z": two slots in use and one left over.
func placement(s string) Placement {
	switch s {
	case "":
		return Placement{}
	case "-":
		return Placement{Mode: Refuse}
	}
	used, rest, _ := strings.Cut(s, "+")
	return Placement{Mode: Random, Size: len(used), Slots: letters(used + rest)}
}

func balancer(s string) *Balancer {
	p := placement(s)
	if p.Mode == Absent {
		return nil
	}
	return &Balancer{Mode: p.Mode, Shares: p.Shares()}
}

func ruleset(b *Balancer) *Ruleset {
	balancers := cluster.Map[cluster.Frontend, *Balancer]{}.Edit()
	if b != nil {
		balancers.Set(frontend, b)
	}
	return &Ruleset{Balancers: balancers.Map()}
}

func slotNames(slots []netip.AddrPort) string {
	var b strings.Builder
	for _, s := range slots {
		if s.IsValid() {
			b.WriteByte(s.Addr().As4()[3])
		} else {
			b.WriteByte('.')
		}
	}
	return b.String()
}

func writes(list []SlotWrite) string {
	var out []string
	for _, w := range list {
		out = append(out, string(rune('0'+w.Slot))+":"+slotNames([]netip.AddrPort{w.Old})+slotNames([]netip.AddrPort{w.New}))
	}
	return strings.Join(out, " ")
}

// The table of Diff's comment, and of the phases that lead there.
func TestDiffTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, have, want string
		slots            string // the layout that is chosen
		first, second    string // slots written in each transaction, as slot:oldnew
		entry            int    // the transaction that writes the entry, -1: none
	}{
		{"the order means nothing", "xy", "yx", "xy", "", "", -1},
		{"one replaced", "xy", "xz", "xz", "1:yz", "", -1},
		{"one more: its slot, then the size", "xy", "xyz", "xyz", "2:.z", "", 1},
		{"one less: the hole is filled with the size, then the last slot goes", "xyz", "xz", "xz", "1:yz", "2:z.", 0},
		{"one less at the end", "xyz", "xy", "xy", "2:zx", "2:x.", 0},
		{"one less, the last one stays wanted", "xyzy", "xy", "xy", "2:zx", "2:x. 3:y.", 0},
		{"gone: the entry, then its slot", "x", "", "", "", "0:x.", 0},
		{"new without a target: the entry, which refuses", "", "-", "", "", "", 0},
		{"new", "", "xy", "xy", "0:.x 1:.y", "", 1},
		{"its last target gone", "xy", "-", "", "", "0:x. 1:y.", 0},
		{"a first target", "-", "x", "x", "0:.x", "", 1},
		{"nobody wants a refusing one any more", "-", "", "", "", "", 0},
		{"weights move", "xxy", "xyy", "xyy", "1:xy", "", -1},
		{"all replaced", "xy", "vw", "vw", "0:xv 1:yw", "", -1},
		{"left over from an interrupted change", "xy+z", "xy", "xy", "2:zx", "2:x.", -1},
		{"left over, and wanted again", "xy+z", "xyz", "xyz", "", "", 1},
		{"a slot was taken out", "x.", "xy", "xy", "1:.y", "", -1},
		{"nothing at all", "", "", "", "", "", -1},
	} {
		have := NewState()
		if p := placement(c.have); p.Mode != Absent {
			have.Placed[frontend] = p
		}
		want := ruleset(balancer(c.want))
		plan := Diff(have, want)
		if c.first+c.second == "" && c.entry < 0 {
			require.True(t, plan.Empty(), "%s: %s", c.name, plan)
			continue
		}
		require.Len(t, plan.Changes, 1, c.name)
		change := plan.Changes[0]
		require.Equal(t, c.slots, slotNames(change.Want.Slots), c.name)
		require.Equal(t, c.first, writes(change.SlotsIn(0)), "%s, first", c.name)
		require.Equal(t, c.second, writes(change.SlotsIn(1)), "%s, second", c.name)
		require.Equal(t, c.entry == 0, change.EntryIn(0), "%s, entry first", c.name)
		require.Equal(t, c.entry == 1, change.EntryIn(1), "%s, entry second", c.name)
		have.Commit(plan)
		require.True(t, Diff(have, want).Empty(), c.name)
	}
}

// Whatever the layouts: what is chosen is what is wanted, a slot that need not change does not, and in every generation
// both the size before and the size after find their slots.
func TestDiffKeepsSlots(t *testing.T) {
	t.Parallel()
	text := rapid.StringOfN(rapid.SampledFrom([]rune("wxyz")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		from, to := text.Draw(t, "from"), text.Draw(t, "to")
		have, want := placement(from), balancer(to)
		next := place(have, want)
		if to == "" {
			require.Equal(t, Placement{}, next)
			return
		}
		require.True(t, next.holds(want), "%s -> %s: %s", from, to, slotNames(next.Slots))
		kept := 0
		for i := range min(have.Size, next.Size) {
			if have.Slots[i] == next.Slots[i] {
				kept++
			}
		}
		require.Equal(t, keepable(have.Slots, next), kept, "%s -> %s: %s", from, to, slotNames(next.Slots))
		generations(t, Change{Frontend: frontend, Have: have, Want: next})
	})
}

// keepable counts the slots that could stay where they are, had they been the only concern.
func keepable(have []netip.AddrPort, want Placement) (n int) {
	left := map[netip.AddrPort]int{}
	for _, target := range want.Slots {
		left[target]++
	}
	for i := range min(len(have), want.Size) {
		if left[have[i]]--; left[have[i]] >= 0 {
			n++
		}
	}
	return n
}

// generations plays a change, and looks for a packet that reads the size in one generation and misses its slot there or
// in the next. Where the last target goes there is nothing to lose.
func generations(t *rapid.T, c Change) {
	size, slots := c.Have.Size, slices.Clone(c.Have.Slots)
	for phase := range Phases {
		before := size
		for _, w := range c.SlotsIn(phase) {
			for len(slots) <= w.Slot {
				slots = append(slots, netip.AddrPort{})
			}
			require.Equal(t, w.Old, slots[w.Slot])
			slots[w.Slot] = w.New
		}
		if c.EntryIn(phase) {
			size = c.Want.Size
		}
		for i := range max(before, size) {
			require.True(t, slots[i].IsValid(), "%s: slot %d in transaction %d", c, i, phase)
		}
	}
	for len(slots) > 0 && !slots[len(slots)-1].IsValid() {
		slots = slots[:len(slots)-1]
	}
	require.Equal(t, slotNames(c.Want.Slots), slotNames(slots))
	require.Equal(t, c.Want.Size, size)
}

func TestDisjoint(t *testing.T) {
	t.Parallel()
	parse := func(s string) (out []netip.Prefix) {
		for f := range strings.FieldsSeq(s) {
			out = append(out, netip.MustParsePrefix(f))
		}
		return out
	}
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"sorted, v4 first", "fd00::/64 10.2.0.0/16 10.1.0.0/16", "10.1.0.0/16 10.2.0.0/16 fd00::/64"},
		{"twice", "10.1.0.0/16 10.1.0.0/16", "10.1.0.0/16"},
		{"inside another", "10.1.2.0/24 10.1.0.0/16 10.1.255.255/32 10.2.0.0/32", "10.1.0.0/16 10.2.0.0/32"},
		{"same start", "10.1.0.0/24 10.1.0.0/16", "10.1.0.0/16"},
		{"neighbours stay two", "10.1.0.0/25 10.1.0.128/25", "10.1.0.0/25 10.1.0.128/25"},
		{"a host inside its network", "10.1.0.7/16 10.1.0.0/16", "10.1.0.0/16"},
		{"everything", "0.0.0.0/0 10.0.0.0/8", "0.0.0.0/0"},
	} {
		require.Equal(t, parse(c.want), disjoint(parse(c.in)), c.name)
	}
	require.Equal(t, parse("10.0.0.0/8"), disjoint([]netip.Prefix{{}, netip.MustParsePrefix("10.0.0.0/8"), {}}), "no prefix at all")
}

func TestDiffSet(t *testing.T) {
	t.Parallel()
	address := func(t *rapid.T) netip.Prefix {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 15).Draw(t, "host"))})
		return netip.PrefixFrom(a, rapid.IntRange(28, 32).Draw(t, "bits"))
	}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Custom(address), 0, 8)
		have, want := disjoint(list.Draw(t, "have")), disjoint(list.Draw(t, "want"))
		change := diffSet(VIPs, have, want)
		if slices.Equal(have, want) {
			require.Nil(t, change)
			return
		}
		left := slices.DeleteFunc(slices.Clone(have), func(p netip.Prefix) bool { return slices.Contains(change.Remove, p) })
		require.Equal(t, want, disjoint(append(left, change.Add...)))
		require.Len(t, have, len(left)+len(change.Remove), "something is removed that is not there")
		for _, p := range change.Add {
			require.False(t, slices.ContainsFunc(left, p.Overlaps), "%s overlaps what stays", p)
		}
	})
}
