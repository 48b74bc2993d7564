package placement

import (
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Input is everything that one round of decisions may know.
type Input struct {
	Now         time.Time
	Snapshot    *cluster.Snapshot
	Operations  *cluster.Operations           // not older than what the round before wrote
	Want        map[string]int                // by service that is launched: how many should serve
	Connections map[string]map[string]float64 // by service and instance: open ones, where they are known
	Hosts       map[string]Heat               // by node, where its monitor tells
	Shares      map[string]map[string]float64 // by service and instance: the part of its node's processors that it takes, where that is known
}

// State is what is remembered from one round to the next. It may be lost: then things take a little longer. The zero State
// knows nothing.
type State struct {
	draining  map[instanceKey]int64     // the revision at which an instance was first seen out of traffic
	hot       map[string]streak         // by node
	empty     map[string]time.Time      // machines on which nothing runs, since when that is known
	refused   map[string]time.Time      // nodes whose hook refused a machine
	unreached map[instanceKey]time.Time // assigned to nobody, ready, and nobody knows where it is reached: since when
}

// instanceKey names an instance that is assigned to a node.
type instanceKey struct{ node, id string }

// Action is one step, to be written whole.
type Action struct {
	Decisions []cluster.Decision
	Event     cluster.Event // what is told of it; nothing where What is empty
}

// Times that placement goes by.
const (
	cutOff          = 40 * time.Second // after that a node that lost its contact to etcd is not asked any more: a lease and 30 s
	portRest        = time.Hour        // after that a freed port is anybody's
	refusalRest     = 5 * time.Minute  // for so long a node that refused a service is not asked again
	unreachedFor    = 10 * time.Second // for so long it is waited for where an instance that is assigned to nobody is reached
	mostAtOnce      = 100              // actions a round: more follow in the next one
	mostReplaced    = 1                // instances that are not well, of one service at a time
	defaultPatience = 3                // times the check's fall, until one that is not well is replaced
)
