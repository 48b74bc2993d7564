package launcher

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// State is how an instance is.
type State string

// The states. Only a driver that starts instances itself knows of an end.
const (
	Running  State = "running"
	Stopping State = "stopping" // asked to end, and not yet gone
	Exited   State = "exited"   // ended by itself, or could not be started again
	Absent   State = "absent"   // somebody else's, and not there
)

// Status is what is known of an instance.
type Status struct {
	Kind     cluster.Kind      `json:"kind,omitempty"`
	ID       string            `json:"id"`
	Service  string            `json:"service"`
	State    State             `json:"state"`
	PID      int               `json:"pid,omitempty"`    // of its first process, while it runs
	Host     netip.Addr        `json:"host,omitzero"`    // where it is reached, if not where the Spec says
	Started  time.Time         `json:"started,omitzero"` // the last time
	Starts   int               `json:"starts,omitempty"` // how often
	Exits    []Exit            `json:"exits,omitempty"`  // the last few ends, the newest last
	Output   []string          `json:"output,omitempty"` // the last lines that it wrote, printable
	Problems []cluster.Problem `json:"problems,omitempty"`
}

// Exit is one end of an instance.
type Exit struct {
	At          time.Time `json:"at"`
	Code        int       `json:"code"`             // -1 when a signal ended it
	Signal      string    `json:"signal,omitempty"` // as in "killed"
	OutOfMemory bool      `json:"outOfMemory,omitempty"`
	Wanted      bool      `json:"wanted,omitempty"` // it was asked to end
}

// String is what a person wants to know of it.
func (e Exit) String() string {
	text := fmt.Sprintf("exit code %d", e.Code)
	if e.Signal != "" {
		text = "ended by signal: " + e.Signal
	}
	if e.OutOfMemory {
		text += ", out of memory"
	}
	return text
}
