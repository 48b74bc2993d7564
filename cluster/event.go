package cluster

import "time"

// Event is one automatic decision about a service, with what led to it.
type Event struct {
	Revision int64     `json:"revision,omitempty"` // orders events; set by the store, and never above the revision it was written at
	At       time.Time `json:"at"`
	Service  string    `json:"service"`
	What     string    `json:"what"`             // what was decided: EventWeights and so on
	Reason   string    `json:"reason,omitempty"` // why
	By       string    `json:"by,omitempty"`     // the leader's name
	In       Figures   `json:"in,omitempty"`     // the numbers that it was decided from
	Out      Figures   `json:"out,omitempty"`    // and those that were decided
	Cut      bool      `json:"cut,omitempty"`    // the numbers were too many to keep
}

// What events tell of.
const (
	EventWeights   = "weights"    // a service's weights changed
	EventNodeDown  = "node-down"  // a node was declared down; Service is one that has instances there, and one event is written for each
	EventNodeUp    = "node-up"    // it is back
	EventPlaced    = "placed"     // an instance was given to a node
	EventPromoted  = "promoted"   // one that stood by serves
	EventCalled    = "called"     // instances published to stand by were called to serve, or let go again
	EventDrained   = "drained"    // one takes no new connections
	EventStopped   = "stopped"    // one ends
	EventMoved     = "moved"      // one moves off a busy node
	EventAcquired  = "acquired"   // a machine was asked for, for a service that has no room
	EventReturned  = "returned"   // one on which nothing ran was given back
	EventRefused   = "refused"    // a node does not run one
	EventCrashed   = "crashed"    // one ended by itself, and is started again; where many do, one event tells of all
	EventScaled    = "scaled"     // how many there should be
	EventAsked     = "asked"      // an instance asks for more itself
	EventNodesGone = "nodes-gone" // too many nodes are gone at once, so none of them was declared down; one event for each service with instances there
)

// Figures are numbers by instance and by name, such as busy or share.
type Figures map[string]map[string]float64

// Sound says whether ids and names are such.
func (f Figures) Sound() bool {
	for id, numbers := range f {
		if ValidID(id) != "" {
			return false
		}
		for name := range numbers {
			if ValidName(name) != "" {
				return false
			}
		}
	}
	return true
}

// MaxEvents is how many events of one service are kept.
const MaxEvents = 100

// An event is written together with what it tells of.
func (Event) decision() {}
