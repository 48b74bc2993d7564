package top

import (
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
)

// Frame is one picture.
type Frame struct {
	At       time.Time `json:"at"`
	Revision int64     `json:"revision"`         // of etcd
	Paused   bool      `json:"paused,omitempty"` // nothing is decided automatically
	Services []Service `json:"services"`
	Nodes    []Node    `json:"nodes"`
	Notes    []string  `json:"notes,omitempty"` // what could not be learnt, and why
}

// Figures are what load monitors measured, with what two reports tell.
type Figures struct {
	NewPerS *float64 `json:"new_per_s,omitempty"` // new connections
	controlcenter.Figures
}

// Service is one service: sums of new and active connections, means of the rest, over the instances of which they are known.
type Service struct {
	Name    string `json:"name"`
	Status  string `json:"status"` // ok, degraded, down, empty, asleep
	Balance string `json:"balance"`
	Taking  int    `json:"taking"` // instances that take new connections
	Figures
	Drift     *float64   `json:"drift,omitempty"` // the largest of its instances, without its sign
	Problems  int        `json:"problems,omitempty"`
	Instances []Instance `json:"instances"`
}

// Instance is one instance. Shares are percent of the new connections of its address family.
type Instance struct {
	ID     string           `json:"id"`
	Node   string           `json:"node,omitempty"`
	State  cluster.Status   `json:"state"`
	Reason string           `json:"reason,omitempty"`
	Since  time.Time        `json:"since,omitzero"`
	Weight int              `json:"weight"`
	By     cluster.WeightBy `json:"weight_by"`
	Want   float64          `json:"want"`            // by its weight
	Have   *float64         `json:"have,omitempty"`  // of those between the two newest reports; nil unless all that take connections are known
	Drift  *float64         `json:"drift,omitempty"` // have - want, in points; nil where each node prefers instances of its own
	Figures
}

// Node is one node.
type Node struct {
	Name      string   `json:"name"`
	State     string   `json:"state"` // alive, gone, unwatched, down, drained, cordoned
	Reason    string   `json:"reason,omitempty"`
	CPU       *float64 `json:"cpu,omitempty"`       // 0..1 of all its processors
	Memory    *float64 `json:"memory,omitempty"`    // 0..1 in use
	Conntrack *float64 `json:"conntrack,omitempty"` // 0..1 of the table of tracked connections
	NewPerS   *float64 `json:"new_per_s,omitempty"` // of the instances on it
	Instances int      `json:"instances"`
	Applied   int64    `json:"applied"` // revision
	Lag       int64    `json:"lag"`     // revisions that it has yet to apply
	Repairs   int      `json:"repairs"`
	Problems  int      `json:"problems"`
	Monitor   string   `json:"monitor"` // MonitorOK and so on
	Why       string   `json:"why,omitempty"`
}

// How a node's load monitor is doing.
const (
	MonitorOK     = "ok"
	MonitorSilent = "silent" // it said nothing new for too long
	MonitorFailed = "failed" // it did not answer, or not with a report
	MonitorNone   = "none"   // the node tells of none
	MonitorUnread = "unread" // it was not asked
)

// Scene is what a picture is made of.
type Scene struct {
	Snapshot *cluster.Snapshot
	Fleet    controlcenter.Fleet
	Past     *Past
	Now      time.Time
	Notes    []string
}

// Board makes one picture after the other. Services that nothing touched are not resolved again.
type Board struct{ resolved map[string]resolved }

type resolved struct {
	in *cluster.Inputs
	*cluster.Resolved
	row controlcenter.ServiceRow
}

func resolve(in *cluster.Inputs) resolved {
	r := cluster.Resolve(in)
	return resolved{in, r, controlcenter.ServiceRowOf(r)}
}

// Frame is the picture of a scene, services by name.
func (b *Board) Frame(s Scene) Frame {
	f := Frame{At: s.Now, Revision: s.Snapshot.Revision, Services: b.services(s), Nodes: Nodes(s)}
	f.Notes = append(slices.Clone(s.Notes), Silence(f.Nodes)...)
	f.Paused = s.Snapshot.Config != nil && s.Snapshot.Config.Paused
	f.sum()
	return f
}

// sum adds up what the instances of a node take.
func (f *Frame) sum() {
	rates := map[string]*float64{}
	for _, s := range f.Services {
		for _, i := range s.Instances {
			rates[i.Node] = plus(rates[i.Node], i.NewPerS)
		}
	}
	for i := range f.Nodes {
		f.Nodes[i].NewPerS = rates[f.Nodes[i].Name]
	}
}

// plus adds what is known.
func plus[N uint64 | float64](sum, more *N) *N {
	if sum == nil || more == nil {
		if sum == nil {
			return more
		}
		return sum
	}
	both := *sum + *more
	return &both
}
