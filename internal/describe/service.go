package describe

import (
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/loadmon"
)

// Known is what a description is made of.
type Known struct {
	Snapshot *cluster.Snapshot
	Fleet    controlcenter.Fleet
	Loads    map[string]loadmon.Load // of this service's instances, by id; those that were not measured are missing
	Events   []cluster.Event         // of this service, the oldest first
	Notes    []string
	Troubles []controlcenter.Trouble // of this service
	Now      time.Time

	Operations *cluster.Operations // nil: not known
}

// Service is all that is known of one service.
type Service struct {
	controlcenter.ServiceRow
	Paused bool             `json:"paused,omitempty"` // nothing is decided automatically
	File   *cluster.Service `json:"file"`
	Rows   []Instance       `json:"members"`
	Nodes  []Node           `json:"nodes,omitempty"` // those with something to say of this service
	Events []cluster.Event  `json:"events"`          // the newest, the oldest of them first
	Notes  []string         `json:"notes,omitempty"`

	Wanted   *Wanted                 `json:"wanted,omitempty"`   // nil: nobody decides how many there are, or it is not known
	Runs     []Run                   `json:"runs,omitempty"`     // that launchers keep
	Launched []controlcenter.Trouble `json:"launched,omitempty"` // what is wrong with how its instances are launched
}

// Instance is one instance, with all that its node measured.
type Instance struct {
	controlcenter.InstanceRow
	Load *loadmon.Load `json:"load,omitempty"`
}

// Node is what a node says that concerns the service.
type Node struct {
	Name     string            `json:"name"`
	State    string            `json:"state"`
	Behind   bool              `json:"behind,omitempty"`  // it has not applied the service as it is now
	Refused  bool              `json:"refused,omitempty"` // its kernel refused a frontend
	Problems []cluster.Problem `json:"problems,omitempty"`
	Repairs  int               `json:"repairs,omitempty"` // of its rules, since its agent started
	Last     *cluster.Repair   `json:"last_repair,omitempty"`
}

// MaxEvents is how many events are shown.
const MaxEvents = 10

// Of describes the service of that name.
func Of(name string, k Known) (*Service, error) {
	rows, err := controlcenter.Services(k.Snapshot, name)
	if err != nil {
		return nil, err
	}
	instances, err := controlcenter.Instances(k.Snapshot, name, k.Now)
	if err != nil {
		return nil, err
	}
	in, _ := k.Snapshot.Services.Get(name)
	d := &Service{ServiceRow: rows[0], File: in.Service, Rows: []Instance{}, Events: k.Events[max(0, len(k.Events)-MaxEvents):], Notes: k.Notes}
	d.Paused = k.Snapshot.Config != nil && k.Snapshot.Config.Paused
	for _, row := range instances {
		one := Instance{InstanceRow: row}
		if load, ok := k.Loads[row.ID]; ok {
			one.Load = &load
		}
		d.Rows = append(d.Rows, one)
	}
	if d.Events == nil {
		d.Events = []cluster.Event{}
	}
	d.Launched = slices.DeleteFunc(slices.Clone(k.Troubles), func(t controlcenter.Trouble) bool {
		return slices.Contains(d.Problems, t.Problem) || slices.Contains(problemsOf(k.Fleet, t.Node), t.Problem)
	})
	d.Wanted, d.Runs = wantedOf(in, k), runsOf(name, k.Operations)
	d.Nodes = concerned(in.Service, d.Problems, k)
	return d, nil
}

// concerned are the nodes that say something of a service. Every node carries every service, so whatever was repaired on
// one concerns it.
func concerned(s *cluster.Service, known []cluster.Problem, k Known) (out []Node) {
	told := maps.Clone(k.Fleet.Alive)
	if told == nil {
		told = map[string]bool{}
	}
	for name := range k.Fleet.Applied {
		told[name] = true
	}
	for name := range k.Fleet.Repairs {
		told[name] = true
	}
	for name := range k.Fleet.Loadmons {
		told[name] = true
	}
	rows, _ := controlcenter.Nodes(k.Snapshot, k.Fleet, "", k.Now) // it fails only for a name that is not there
	states := map[string]string{}
	for _, row := range rows {
		states[row.Name] = row.State
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		n := said(s, k, name)
		n.Problems = slices.DeleteFunc(n.Problems, func(p cluster.Problem) bool { return slices.Contains(known, p) })
		if n.Behind || n.Refused || len(n.Problems) > 0 || n.Repairs > 0 {
			n.State = states[name]
			out = append(out, n)
		}
	}
	return out
}

func problemsOf(f controlcenter.Fleet, node string) []cluster.Problem {
	problems, _ := f.Problems(node)
	return problems
}

func said(s *cluster.Service, k Known, name string) Node {
	applied, repairs := k.Fleet.Applied[name], k.Fleet.Repairs[name]
	n := Node{Name: name, Behind: applied.Revision < s.ModRevision, Refused: slices.Contains(applied.Refused, s.Name), Repairs: repairs.Count}
	for _, p := range problemsOf(k.Fleet, name) {
		if p.Object == "service "+s.Name {
			n.Problems = append(n.Problems, p)
		}
	}
	if len(repairs.Newest) > 0 {
		n.Last = &repairs.Newest[0]
	}
	return n
}
