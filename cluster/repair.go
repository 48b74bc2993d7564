package cluster

import "time"

// Repair is one mending of a node's rules that something else had changed.
type Repair struct {
	At      time.Time `json:"at"` // when the rules were right again
	Cause   string    `json:"cause"`
	What    string    `json:"what"`             // what was done to them, or what was found wrong
	Who     string    `json:"who,omitempty"`    // process name and id, where the kernel tells
	WrongMS float64   `json:"wrong_ms"`         // since the notice; for RepairCheck since the check before, which is the most it can be
	Writes  int       `json:"writes,omitempty"` // entries, slots, set elements, chains and tables that were written
}

// How a repair came about.
const (
	RepairNotice = "notice" // the kernel told of the change
	RepairLost   = "lost"   // notices were lost, so everything was compared
	RepairCheck  = "check"  // the regular check found it
	RepairWrite  = "write"  // a write met something else than was remembered
)

// RepairCauses are all causes.
var RepairCauses = []string{RepairNotice, RepairLost, RepairCheck, RepairWrite}

// MaxRepairs is how many repairs a node tells of.
const MaxRepairs = 20

// Repairs is what a node tells of the repairs since its agent started.
type Repairs struct {
	Since  time.Time `json:"since"`
	Count  int       `json:"count"`
	Newest []Repair  `json:"newest"` // the newest first, at most MaxRepairs
}

// Add is the same with one more.
func (r Repairs) Add(one Repair) Repairs {
	newest := append(make([]Repair, 0, MaxRepairs), one)
	r.Newest = append(newest, r.Newest[:min(len(r.Newest), MaxRepairs-1)]...)
	r.Count++
	return r
}
