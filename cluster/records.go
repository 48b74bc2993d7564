package cluster

import (
	"net/netip"
	"time"
)

// Admin is an operator's word about one instance. It wins over everything that was measured.
type Admin struct {
	Drain   bool      `json:"drain,omitempty"`   // no new connections; live ones go on
	Standby bool      `json:"standby,omitempty"` // kept ready, not routed
	Weight  *int      `json:"weight,omitempty"`  // 0..1000, in place of the file's or the leader's
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// NodeAdmin is an operator's word about a whole node.
type NodeAdmin struct {
	Cordon bool      `json:"cordon,omitempty"` // nothing new is placed there; what runs there keeps its traffic
	Drain  bool      `json:"drain,omitempty"`  // its instances take no new connections
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// Weights are what the leader decided for one service. An instance without an entry counts as the mean of those that
// have one; an entry without an instance is ignored.
type Weights struct {
	Share   map[string]int      `json:"share,omitempty"` // instance id -> relative weight, 0..1,000,000
	Ejected map[string]Ejection `json:"ejected,omitempty"`
}

// Ejection takes an instance out because it misbehaves although its checks pass.
type Ejection struct {
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// Verdict is what a load monitor says of an instance that is not well.
type Verdict string

// The verdicts. An instance that nobody mentions is well.
const (
	Dead    Verdict = "dead"    // process gone, connection refused: out, down to none
	Failing Verdict = "failing" // timeout, bad answer, too slow: out unless too many would be
	Leaving Verdict = "leaving" // it asks for no new connections itself: out, as if an operator had drained it
	Suspect Verdict = "suspect" // a check failed, and the next ones decide: in. It counts where others fail (see Resolve)
)

// Health is one verdict with its reason.
type Health struct {
	Verdict Verdict   `json:"verdict"`
	Reason  string    `json:"reason,omitempty"`
	Output  string    `json:"output,omitempty"` // of the check that failed: one printable line of at most MaxOutput bytes
	Since   time.Time `json:"since,omitzero"`
	Began   time.Time `json:"began,omitzero"` // of failing: the first failure of the row that led to it
}

// began is when the row of failures began that a verdict rests on, as far as that is known.
func (h Health) began() time.Time {
	if h.Began.IsZero() {
		return h.Since
	}
	return h.Began
}

// MaxOutput bounds what is kept of a check's output.
const MaxOutput = 256

// NodeHealth is what one node's load monitor says: service -> instance id -> verdict, only those that are not well.
type NodeHealth map[string]map[string]Health

// Down says that the leader declared a node down.
type Down struct {
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
}

// Gone is what the leader makes of a node whose agent is not in touch with etcd, as long as the node is not down.
type Gone struct {
	State  GoneState `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"` // the agent is gone
}

// GoneState is how a node without an agent is treated. Its instances keep their traffic in each of them.
type GoneState string

// The states.
const (
	Unwatched GoneState = "unwatched" // its instances answer other nodes
	HeldBack  GoneState = "held"      // it may be dead, but is not declared down, for the reason given
)

// Node is what an agent tells of its node when it joins.
type Node struct {
	Addresses []netip.Addr      `json:"addresses,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Version   string            `json:"version,omitempty"`
	Monitor   string            `json:"monitor,omitempty"` // where its load monitor answers: http(s)://ADDRESS:PORT, one of Addresses; "": nowhere
}

// Config is the operator's frame around all services.
type Config struct {
	VIPPools         []netip.Prefix            `json:"vip_pools,omitempty"`         // where VIPs may be; none: anywhere
	InstanceNetworks []netip.Prefix            `json:"instance_networks,omitempty"` // where instances may be; none: anywhere
	NodeAddresses    map[string][]netip.Prefix `json:"node_addresses,omitempty"`    // what each node may register; none: no node is limited
	Paused           bool                      `json:"paused,omitempty"`            // the leader decides nothing
}

// Applied is what a node last told about itself.
type Applied struct {
	Revision     int64     `json:"revision"`                // the newest revision that its kernel holds
	TookMS       float64   `json:"took_ms"`                 // from the snapshot's arrival to the verified rules
	Problems     []Problem `json:"problems,omitempty"`      // what it could not do, the first of them
	ProblemCount int       `json:"problem_count,omitempty"` // how many there are, where Problems does not hold all
	Refused      []string  `json:"refused,omitempty"`       // services of which its kernel refused a frontend
	Stale        bool      `json:"stale,omitempty"`         // it works from its cache file, without etcd
	Held         *Held     `json:"held,omitempty"`          // deletions that it holds back
	Insecure     bool      `json:"insecure,omitempty"`      // its agent accepts an unsafe etcd
	At           time.Time `json:"at,omitzero"`

	// Live TCP connections that the node still carries to instances that were drained, set to standby or weight 0, or
	// removed: "service/instance id" -> how many. One that is not named has none, as far as it departed by FlowsRevision;
	// of later departures nothing is said yet.
	Flows         map[string]int `json:"flows,omitempty"`
	FlowsRevision int64          `json:"flows_revision,omitempty"`
}
