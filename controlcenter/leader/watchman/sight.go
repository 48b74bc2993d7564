package watchman

import (
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Node is what the snapshot says of one node.
type Node struct {
	Hosts   bool // instances run there
	Monitor bool // its load monitor can be asked to look
	Down    *cluster.Down
}

// Sight is all that is known at one moment. Times are compared with one another only, and as this process measures them.
type Sight struct {
	Now      time.Time
	Answered time.Time // when etcd was last asked and answered
	Paused   bool      // an operator stopped all automatic decisions
	Nodes    map[string]Node
	Alive    map[string]bool // nodes whose agent is in touch with etcd
	Looked   []Looked        // looks that ended since the last decision
	Recorded map[string]cluster.Gone
}

// Look asks some nodes to knock at the instances of another: Need of them, in this order, the next one for each that cannot.
type Look struct {
	Node    string
	Number  int
	Lookers []string
	Need    int
}

// Looked is what came of a Look.
type Looked struct {
	Node     string
	Number   int
	Answered string   // what was reached, and by whom: "10.0.0.1:80 answers n2"; "" nothing
	Silent   []string // lookers that reached nothing
	Why      string   // nobody could look; "": the lookers could not be asked
}

// Verdict is a node to declare down.
type Verdict struct {
	Node string
	Down cluster.Down
}

// Alarm says that too many nodes are gone at once.
type Alarm struct {
	Nodes  []string
	Reason string
}

// Orders are what to do. Gone is everything that should be recorded of nodes that are gone, from now on.
type Orders struct {
	Looks    []Look
	Down     []Verdict
	Up       []string // back after having been down
	Alarm    *Alarm   // it lasts as long as this is set
	Raised   bool     // it begins now, or again after a long time
	Gone     map[string]cluster.Gone
	Problems []cluster.Problem
}
