package cluster

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Assignment is one instance that a node's launcher is to keep: ops/assign/<node>/<id>. The leader writes it.
type Assignment struct {
	Kind    Kind              `json:"kind,omitempty"` // left out: an instance
	Service string            `json:"service"`        // "" of a machine, which is nobody's
	For     string            `json:"for,omitempty"`  // of a machine: the service that had no room
	Run     Run               `json:"run"`
	Check   *Check            `json:"check,omitempty"` // what tells that it is ready; nil: its first TCP port accepts
	Address netip.Addr        `json:"address,omitzero"`
	Ports   map[string]uint16 `json:"ports,omitempty"` // by the name of the service's port; "" is the one of a service whose only port has no name
	Fixed   bool              `json:"fixed,omitempty"` // the service has no scale: what its instances ask for is not heard
	Wanted  Wanted            `json:"wanted"`
	Version string            `json:"version"` // of Run: what differs is to be replaced
	Reason  string            `json:"reason,omitempty"`
	Since   time.Time         `json:"since,omitzero"` // of Wanted
}

// About is the service that it has to do with.
func (a Assignment) About() string { return cmp.Or(a.Service, a.For) }

// Kind is what is assigned to a launcher.
type Kind string

// The kinds.
const (
	KindInstance Kind = ""     // one copy of a service
	KindNode     Kind = "node" // a machine, from driver hook, that joins the cluster as the node of that id
)

// Wanted is what the leader wants of an instance.
type Wanted string

// What can be wanted.
const (
	WantServing Wanted = "serving" // runs, and takes connections as soon as it is ready
	WantStandby Wanted = "standby" // runs, is checked, and takes none
	WantDrained Wanted = "drained" // runs for the connections that it has, and takes no new ones
	WantStopped Wanted = "stopped" // ends, and is forgotten
)

// Kept says whether an instance is to run on, and is not on its way out.
func (w Wanted) Kept() bool { return w == WantServing || w == WantStandby }

// Launched is how one assigned instance is: ops/status/<node>/<id>. Its node's launcher writes it.
type Launched struct {
	Kind     Kind      `json:"kind,omitempty"`
	Service  string    `json:"service"`
	For      string    `json:"for,omitempty"` // of a machine
	Phase    Phase     `json:"phase"`
	Version  string    `json:"version,omitempty"` // that runs
	PID      int       `json:"pid,omitempty"`
	Starts   int       `json:"starts,omitempty"`    // how often it was started
	Exit     string    `json:"exit,omitempty"`      // its last end, in words
	Output   []string  `json:"output,omitempty"`    // the last lines that it wrote before an end, printable
	Problem  *Problem  `json:"problem,omitempty"`   // why it does not run, or not as asked for
	PortBusy uint16    `json:"port_busy,omitempty"` // the port that somebody else listens on
	NextTry  time.Time `json:"next_try,omitzero"`   // of one that crashes again and again
	Since    time.Time `json:"since,omitzero"`      // of Phase
	Ask      *Ask      `json:"ask,omitempty"`       // what it last asked for itself
	Crash    *Crash    `json:"crash,omitempty"`     // how it last ended by itself
}

// Ask is an instance's own word on how many of its service there should be: Replicas at least, or More than when it is heard.
type Ask struct {
	Replicas int       `json:"replicas,omitempty"`
	More     int       `json:"more,omitempty"`
	Reason   string    `json:"reason,omitempty"` // a printable line
	For      Duration  `json:"for"`              // for so long it counts, from when it is heard
	At       time.Time `json:"at"`               // tells one from the next
}

// How long an Ask counts where it does not say, and at most.
const (
	DefaultAsk = Duration(2 * time.Minute)
	MaxAsk     = Duration(time.Hour)
)

// Heard is an Ask as the leader understood it.
type Heard struct {
	Replicas int       `json:"replicas"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`    // of the Ask
	Until    time.Time `json:"until"` // by the leader's clock
}

// Phase is how far a launched instance has come.
type Phase string

// The phases.
const (
	PhaseStarting Phase = "starting" // runs, and is not ready yet
	PhaseReady    Phase = "ready"    // runs, and was ready once
	PhaseCrashed  Phase = "crashed"  // ended by itself, and is started anew at NextTry
	PhaseRefused  Phase = "refused"  // this node does not run it, and Problem says why
	PhaseStopping Phase = "stopping" // was asked to end
	PhaseStopped  Phase = "stopped"  // is gone
)

// Launcher is what a node can launch: ops/launchers/<node>, on a lease of its launcher.
type Launcher struct {
	Drivers  []string   `json:"drivers"`
	Services []string   `json:"services,omitempty"` // that its owner permits; none: all
	Capacity Resources  `json:"capacity"`           // for all instances together
	Ports    PortRange  `json:"ports"`              // that it may give to instances
	Address  netip.Addr `json:"address"`            // of the node, where its instances are reached
	Nodes    *NodeOffer `json:"nodes,omitempty"`    // machines that its hook may acquire; nil: none
	Logs     string     `json:"logs,omitempty"`     // base URL of its log pages
	Version  string     `json:"version,omitempty"`
	Since    time.Time  `json:"since,omitzero"`
}

// NodeOffer is what machines a launcher's hook can acquire.
type NodeOffer struct {
	Most     int               `json:"most"`              // at the same time
	Capacity Resources         `json:"capacity,omitzero"` // of each, for all its instances together; 0: enough for any
	Labels   map[string]string `json:"labels,omitempty"`  // that its agent will have
	Idle     Duration          `json:"idle,omitempty"`    // one on which nothing runs for so long is given back; default 15m
}

// Refused says that nothing runs, and that only the launcher's word is left there, for nobody to ask that node again.
func (l Launched) Refused() bool { return l.Phase == PhaseRefused }

// Over says that nothing runs: it has ended, or was refused.
func (l Launched) Over() bool { return l.Phase == PhaseStopped || l.Refused() }

// PortRange is written as in "20000-29999".
type PortRange struct{ From, To uint16 }

// Contains says whether a port is within it.
func (r PortRange) Contains(port uint16) bool { return port >= r.From && port <= r.To && port != 0 }

func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.From, r.To) }

// MarshalText writes it for JSON.
func (r PortRange) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads FROM-TO.
func (r *PortRange) UnmarshalText(text []byte) error {
	low, high, _ := strings.Cut(string(text), "-")
	from, err := strconv.ParseUint(low, 10, 16)
	to, herr := strconv.ParseUint(high, 10, 16)
	if err != nil || herr != nil || from == 0 || to < from {
		return fmt.Errorf("%q is no range of ports: write it as in 20000-29999", clip(string(text)))
	}
	r.From, r.To = uint16(from), uint16(to)
	return nil
}

// PortClaim says whose a port of a node is: ops/ports/<node>/<port>. The leader writes it in the transaction of the
// assignment. A port that was freed keeps its claim until nobody can reach it any more under its old meaning.
type PortClaim struct {
	Service  string    `json:"service"`
	ID       string    `json:"id,omitempty"` // "" once it is freed
	Since    time.Time `json:"since,omitzero"`
	Revision int64     `json:"revision,omitempty"` // it was freed before this one: another service gets it when all nodes have applied that
	Busy     bool      `json:"busy,omitempty"`     // somebody else listened on it
}

// Scaled is how many instances a service should have: ops/scale/<service>.
type Scaled struct {
	Replicas int       `json:"replicas"`
	By       string    `json:"by,omitempty"` // operator, or the metric or instance that decided
	Reason   string    `json:"reason,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Pinned   bool      `json:"pinned,omitempty"` // an operator's word: load does not change it
	// Withdrawn: an operator withdrew the service, and those of its instances that Weir runs are to go. It is gone with the last of
	// them, or when the service is published again. Without it, instances of a service that is not published run on.
	Withdrawn bool `json:"withdrawn,omitempty"`

	Heard map[string]Heard `json:"heard,omitempty"` // what instances asked for themselves, by id

	ModRevision int64 `json:"-"` // of the key; 0 before it is written
}

// Wake says that somebody connects to a service without instances: ops/wake/<service>. Agents write it.
type Wake struct {
	At   time.Time `json:"at"`
	Node string    `json:"node"`
}

// Moved is the last move of an instance of a service off a busy node: ops/moved/<service>. The leader writes it in the
// transaction that places the substitute; the next move of that service waits for a while.
type Moved struct {
	ID     string    `json:"id"` // of the instance that goes
	From   string    `json:"from"`
	To     string    `json:"to"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since"`
}

// Operations is what the leader must know beside a Snapshot, at one etcd revision. It is immutable.
type Operations struct {
	Revision  int64
	Alive     map[string]bool
	Applied   map[string]Applied
	Launchers map[string]Launcher
	Assigned  map[string]map[string]Assignment // by node and instance id, as the next
	Launched  map[string]map[string]Launched
	Ports     map[string]map[uint16]PortClaim // by node
	Scaled    map[string]Scaled               // by service, as the next
	Wakes     map[string]Wake
	Moved     map[string]Moved
	Crashes   map[string]Crashes
	Problems  []Problem // values that could not be read
}
