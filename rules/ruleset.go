package rules

import (
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// Mode says how a frontend finds the slot of a new connection.
type Mode uint8

// The modes. The zero Mode is a frontend that is not there at all.
const (
	Absent  Mode = iota
	Refuse       // no target: refused at once, never silence
	Hold         // no target yet: dropped without an answer, so that the client's retry finds one, and the agent is told
	Random       // a uniformly random slot
	Source       // the slot of the client address's hash, alike on every node
	Unknown      // only ever read: something that we did not write and do not understand
)

func (m Mode) String() string {
	return [...]string{"absent", "refuse", "hold", "random", "source", "unknown"}[m]
}

// Share is how many of a balancer's slots lead to one target.
type Share struct {
	Target netip.AddrPort
	Slots  int
}

// Balancer is what the kernel should do with one frontend. It is immutable; a frontend whose inputs did not change keeps
// its pointer.
type Balancer struct {
	Service string // whose frontend it is: for messages, never for the kernel
	Mode    Mode
	Shares  []Share          // sorted by target
	Table   []netip.AddrPort // Source only, where the driver has tables: the target of each slot; else Diff places the slots
	Guarded bool             // only Sources may connect, others are refused and counted
	Sources []netip.Prefix   // sorted, disjoint, of the frontend's family; none of a guarded frontend: nobody may
}

// Slots is the number of slots of all shares.
func (b *Balancer) Slots() int {
	n := 0
	for _, s := range b.Shares {
		n += s.Slots
	}
	return n
}

// Set names a set of prefixes beside the frontends.
type Set uint8

// The sets.
const (
	VIPs       Set = iota // every VIP, or the pool that covers it: what is not a known frontend in here is refused
	KeepSource            // forwarded clients whose address the instance may see, because replies pass this node
	SameLink              // directly attached networks: there, replies would bypass this node
	Hairpin               // instances inside KeepSource, which may call their own VIP
	Pingable              // VIPs of services, which answer ping
	setCount
)

// Sets are all sets, in the order in which they are written.
var Sets = [setCount]Set{VIPs, KeepSource, SameLink, Hairpin, Pingable}

func (s Set) String() string {
	return [...]string{"vips", "keep-source", "same-link", "hairpin", "pingable"}[s]
}

// Ruleset is what a node's kernel should hold. It is immutable, and shares with the one that it was built on.
type Ruleset struct {
	Revision  int64
	Balancers cluster.Map[cluster.Frontend, *Balancer]
	Sets      [setCount][]netip.Prefix // sorted, disjoint
	Local     []cluster.Listener       // instances of this node, whose new connections are counted; sorted
	Problems  []cluster.Problem        // sorted

	snapshot *cluster.Snapshot
	place    cluster.Place
	services cluster.Map[string, *built]
	options  Options
	size     size
	asleep   int // services
}

// Options is what Build must know of the host.
type Options struct {
	KeepSource []netip.Prefix // clients whose return path passes this node: they are not masqueraded
	Links      []netip.Prefix // the networks that the node is directly attached to; used only with KeepSource
	Budget     int            // elements of this node; 0: DefaultBudget
	Node       string         // this node: for locality, and for what is counted here; "": none, every instance is far
	Ping       bool           // VIPs of services answer ping
	NoTables   bool           // the driver cannot look up the slot of a client's hash: Source balancers have no Table
	NoHold     bool           // nobody here would hear of connections that are held: services that sleep refuse
}

// DefaultBudget is how many slots a node may hold before weights are approximated more coarsely. 250,000 elements are
// about 75 MB of kernel memory and 1.5 s of dumping.
const DefaultBudget = 250_000

// Leads says whether a target has a share.
func (b *Balancer) Leads(target netip.AddrPort) bool {
	_, found := slices.BinarySearchFunc(b.Shares, target, func(s Share, t netip.AddrPort) int { return s.Target.Compare(t) })
	return found
}

// Wake is how a driver tells of connections that it holds: by NFLOG, to whoever listens to the group, at most once a second
// for each frontend. The numbers are constants of the product: the group is "we" in ASCII, which nobody else is likely to
// take.
const (
	WakeGroup   = 0x7765 // 30565
	WakePrefix  = "weir-hold"
	WakeSnaplen = 64 // bytes of the packet that are told: the headers
)

// Asleep is the number of services that nobody serves until somebody connects.
func (r *Ruleset) Asleep() int { return r.asleep }

// Slots is the number of slots of all frontends.
func (r *Ruleset) Slots() int { return r.size.tight }
