package rules

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// Packet is the first packet of a connection. Those that follow go where the first one went.
type Packet struct {
	Source netip.Addr
	To     cluster.Frontend // where it is sent
	Local  bool             // by a process of this node
	Random uint32           // what the kernel would draw

	slotOf func(p Placement, client netip.Addr) int
}

// Outcome is what becomes of a packet.
type Outcome string

// The outcomes.
const (
	Passes  Outcome = "passes"  // it is not for us, and leaves as it came
	Sent    Outcome = "sent"    // to a target
	Refused Outcome = "refused" // by a TCP reset or an ICMP error, at once
	Held    Outcome = "held"    // in silence, and told, so that the client's retry finds an instance: the service sleeps
	Dropped Outcome = "dropped" // in silence, so that the client's retry decides anew: a slot is missing
	Unclear Outcome = "unclear" // it depends on what is not known: somebody else's rule, or an address that was not given
)

// Step is one rule that said something about a packet. Unless the State knows better, chains bear the names of the nft
// tables, where the name of a balancer's chain also has the number of its map: lb-3 stands there as lb-0-3 to lb-15-3.
type Step struct {
	Chain string `json:"chain"`
	What  string `json:"what"`
}

// Verdict is what becomes of a packet, and why.
type Verdict struct {
	Outcome    Outcome
	Target     netip.AddrPort // of a packet that is sent
	Masquerade bool           // the target sees an address of this node and not the client's
	Why        string         // it is masqueraded, or is not
	Steps      []Step
}

// Trace says what becomes of a packet in a kernel that holds this state and whose frame is sound.
func Trace(s *State, p Packet) Verdict {
	v := trace(s, p)
	if s.Path != nil {
		v.Steps = s.Path(s, p, v)
	}
	return v
}

func trace(s *State, p Packet) Verdict {
	v := &Verdict{Outcome: Passes}
	if p.slotOf = s.SlotOf; p.slotOf == nil {
		p.slotOf = func(p Placement, client netip.Addr) int { return SourceSlot(client, p.Size) }
	}
	hook := "prerouting"
	if p.Local {
		hook = "output"
	}
	v.step(hook, "jump dispatch")
	placed := s.Placed[p.To]
	from := "dispatch"
	if placed.Guarded {
		if from = "guarded"; !v.guard(placed, p) {
			return *v
		}
	}
	switch {
	case placed.Mode == Absent && !contains(s.Sets[VIPs], p.To.VIP):
		v.step("dispatch", "%s is neither a frontend nor a VIP", p.To)
	case placed.Mode == Absent:
		v.step("dispatch", "%s is no frontend, but %s is in @vips: goto other", p.To, p.To.VIP)
		v.step("other", "goto refuse")
		v.refuse(p)
	case placed.Mode == Refuse:
		v.step(from, "%s in @%s: goto no-endpoint", p.To, mapOf(from))
		v.step("no-endpoint", "goto refuse")
		v.refuse(p)
	case placed.Mode == Hold:
		v.Outcome = Held
		v.step(from, "%s in @%s: goto hold", p.To, mapOf(from))
		v.step("hold", "the agent is told, at most once a second: log group %d", WakeGroup)
		v.step("hold", "drop")
	case placed.Mode == Random || placed.Mode == Source:
		v.balance(p, placed, from)
		if v.Outcome == Sent {
			v.masquerade(s, p)
		}
	default:
		v.Outcome = Unclear
		v.step(from, "%s in @%s leads to something that is not ours", p.To, mapOf(from))
	}
	return *v
}

// mapOf is the map of the lookup in a chain.
func mapOf(chain string) string {
	if chain == "guarded" {
		return "guards"
	}
	return "services"
}

// guard says whether a packet to a guarded frontend may go on.
func (v *Verdict) guard(placed Placement, p Packet) bool {
	v.step("dispatch", "%s in @services: goto guarded", p.To)
	switch {
	case !p.Source.IsValid():
		v.Outcome = Unclear
		v.step("guarded", "whether it may go on follows from the client's address, which is not given")
		return false
	case placed.Admits(p.Source) && placed.Mode != Absent:
		v.step("guarded", "%s is in @sources of %s", p.Source, p.To)
		return true
	case placed.Admits(p.Source):
		v.step("guarded", "%s is in @sources, but %s is missing in @guards", p.Source, p.To)
	default:
		v.step("guarded", "%s is not in @sources of %s", p.Source, p.To)
	}
	v.step("guarded", "counted in @refused: goto refuse")
	v.refuse(p)
	return false
}

func (v *Verdict) step(chain, format string, args ...any) {
	v.Steps = append(v.Steps, Step{chain, fmt.Sprintf(format, args...)})
}

func (v *Verdict) refuse(p Packet) {
	v.Outcome = Refused
	switch {
	case p.To.Proto == cluster.TCP:
		v.step("refuse", "reject with tcp reset")
	case p.Local:
		v.step("refuse", "reject: the sender's own call fails, as not permitted")
	default:
		v.step("refuse", "reject with port unreachable")
	}
}

func (v *Verdict) balance(p Packet, placed Placement, from string) {
	chain, slot, how := fmt.Sprintf("lb-%d", placed.Size), int(scale(p.Random, placed.Size)), "numgen random"
	if placed.Mode == Source {
		chain, slot, how = fmt.Sprintf("lbh-%d", placed.Size), p.slotOf(placed, p.Source), "jhash of "+p.Source.String()
	}
	v.step(from, "%s in @%s: goto %s", p.To, mapOf(from), chain)
	if placed.Mode == Source && !p.Source.IsValid() {
		v.Outcome = Unclear
		v.step(chain, "the slot follows from the client's address, which is not given")
		return
	}
	if v.Target = placed.slot(slot); !v.Target.IsValid() {
		v.Outcome = Dropped
		v.step(chain, "%s mod %d is %d, which is missing in @endpoints", how, placed.Size, slot)
		v.step(chain, "drop")
		return
	}
	v.Outcome = Sent
	v.step(chain, "%s mod %d is %d: dnat to %s", how, placed.Size, slot, v.Target)
}

// masquerade follows the packet to postrouting, in the order of the rules there.
func (v *Verdict) masquerade(s *State, p Packet) {
	both := func(set Set) bool {
		return slices.ContainsFunc(s.Sets[set], func(n netip.Prefix) bool { return n.Contains(p.Source) && n.Contains(v.Target.Addr()) })
	}
	where := ""
	v.Why, v.Masquerade = "nobody excepts it", true
	switch {
	case contains(s.Sets[VIPs], p.Source):
		v.Why, where = "its source is a VIP", ", in @vips"
	case p.Local:
		v.Why, v.Masquerade = "its source is this node", false
	case both(Hairpin):
		v.Why, where = "it calls itself", ", in @hairpin"
	case both(SameLink):
		v.Why, where = "client and instance are on one link, where replies would bypass this node", ", in @same-link"
	case contains(s.Sets[KeepSource], p.Source):
		v.Why, where, v.Masquerade = "its source is to be kept", ", in @keep-source", false
	}
	v.step("masq", "%s%s: %s", v.Why, where, v.What())
}

// What becomes of the client's address, in one word.
func (v *Verdict) What() string {
	if v.Masquerade {
		return "masquerade"
	}
	return "return"
}

// Shares counts the slots of each target that a placement chooses from, sorted by target. Chances are in proportion.
func (p Placement) Shares() (out []Share) {
	counts := map[netip.AddrPort]int{}
	for i := range p.Size {
		counts[p.slot(i)]++
	}
	for target, n := range counts {
		out = append(out, Share{target, n})
	}
	slices.SortFunc(out, func(a, b Share) int { return a.Target.Compare(b.Target) })
	return out
}

// SourceSeed of source affinity is a constant of the product, so that all nodes send a client to the same instance.
const SourceSeed = 0x77656972

// SourceSlot is the slot of a client under source affinity: the kernel's jhash of the address, scaled to the size.
func SourceSlot(source netip.Addr, size int) int { return SourcePart(source, SourceSeed, size) }

// SourcePart is the one of several equal parts that the kernel's jhash of an address falls into.
func SourcePart(source netip.Addr, seed uint32, parts int) int {
	if !source.IsValid() {
		return 0
	}
	return int(scale(jhash(source.Unmap().AsSlice(), seed), parts))
}

// scale is reciprocal_scale of linux/kernel.h: the kernel's "mod".
func scale(n uint32, size int) uint32 { return uint32(uint64(n) * uint64(size) >> 32) }

// jhash is that of linux/jhash.h (Bob Jenkins' lookup3) for an address of 4 or 16 bytes. It reads words in host order.
func jhash(key []byte, seed uint32) uint32 {
	a := 0xdeadbeef + uint32(len(key)) + seed
	b, c := a, a
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(key[i:]) }
	if len(key) > 12 {
		a, b, c = jhashMix(a+word(0), b+word(4), c+word(8))
		key = key[12:]
	}
	a += binary.LittleEndian.Uint32(key) // the rest is read byte by byte
	c ^= b
	c -= bits.RotateLeft32(b, 14)
	a ^= c
	a -= bits.RotateLeft32(c, 11)
	b ^= a
	b -= bits.RotateLeft32(a, 25)
	c ^= b
	c -= bits.RotateLeft32(b, 16)
	a ^= c
	a -= bits.RotateLeft32(c, 4)
	b ^= a
	b -= bits.RotateLeft32(a, 14)
	c ^= b
	c -= bits.RotateLeft32(b, 24)
	return c
}

func jhashMix(a, b, c uint32) (x, y, z uint32) {
	a -= c
	a ^= bits.RotateLeft32(c, 4)
	c += b
	b -= a
	b ^= bits.RotateLeft32(a, 6)
	a += c
	c -= b
	c ^= bits.RotateLeft32(b, 8)
	b += a
	a -= c
	a ^= bits.RotateLeft32(c, 16)
	c += b
	b -= a
	b ^= bits.RotateLeft32(a, 19)
	a += c
	c -= b
	c ^= bits.RotateLeft32(b, 4)
	b += a
	return a, b, c
}
