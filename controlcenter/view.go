package controlcenter

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// ServiceRow is one line of "get services".
type ServiceRow struct {
	Name      string            `json:"name"`
	Frontends []string          `json:"frontends"` // those that it holds
	Balance   string            `json:"balance"`
	Affinity  string            `json:"affinity"`
	Locality  string            `json:"locality"`
	Sources   string            `json:"sources"` // who may connect
	Check     string            `json:"check"`   // in words, as the next
	Load      string            `json:"load"`
	Latency   string            `json:"latency"`
	Blend     *int              `json:"blend,omitempty"` // percent; of an adaptive service
	Taking    int               `json:"taking"`          // instances that take new connections
	Instances int               `json:"instances"`
	Status    string            `json:"status"` // ok, degraded, down, empty, asleep
	Revision  int64             `json:"revision"`
	Problems  []cluster.Problem `json:"problems,omitempty"`
	Figures
}

// Figures are what load monitors measured; nil: not known. Of a service they are the sum of active connections, and means
// of the rest.
type Figures struct {
	Active    *uint64  `json:"active,omitempty"`     // connections that are open
	Busy      *float64 `json:"busy,omitempty"`       // 0..1
	LatencyMS *float64 `json:"latency_ms,omitempty"` // of its check
}

// InstanceRow is one line of "get instances".
type InstanceRow struct {
	Service string            `json:"service"`
	ID      string            `json:"id"`
	Address string            `json:"address"`
	Node    string            `json:"node,omitempty"`
	Zone    string            `json:"zone,omitempty"`
	Weight  int               `json:"weight"`
	By      cluster.WeightBy  `json:"weight_by"`      // whose word the weight is
	Share   float64           `json:"share"`          // percent of the new connections of its address family that it should get
	Have    *float64          `json:"have,omitempty"` // percent that it got on this node while it was counted; nil: nothing was
	State   cluster.Status    `json:"state"`
	Reason  string            `json:"reason,omitempty"`
	Output  string            `json:"output,omitempty"` // of the check that led to this state
	Since   time.Time         `json:"since,omitzero"`
	Age     time.Duration     `json:"-"` // of the reason; 0: unknown
	From    string            `json:"from"`
	Labels  map[string]string `json:"labels,omitempty"`
	Figures
}

// NodeRow is one line of "get nodes".
type NodeRow struct {
	Name      string            `json:"name"`
	State     string            `json:"state"`          // alive, gone, unwatched, down, drained, cordoned
	Since     time.Time         `json:"since,omitzero"` // of the state, where it is known
	For       time.Duration     `json:"-"`              // since then; 0: unknown
	Alive     bool              `json:"alive"`
	Applied   int64             `json:"applied"`
	Lag       int64             `json:"lag"` // revisions that it has yet to apply
	TookMS    float64           `json:"took_ms"`
	Stale     bool              `json:"stale"` // it works from its cache file
	Version   string            `json:"version,omitempty"`
	Addresses []string          `json:"addresses,omitempty"`
	Instances int               `json:"instances"`
	Reason    string            `json:"reason,omitempty"`
	Age       time.Duration     `json:"-"` // of what it last told; 0: it told nothing
	At        time.Time         `json:"at,omitzero"`
	Problems  []cluster.Problem `json:"problems,omitempty"`
	// ProblemCount is how many problems there are: of many, only the first are told.
	ProblemCount int `json:"problem_count"`
	// Repairs is how often the node's rules were repaired since its agent started; LastRepair is the newest.
	Repairs    int             `json:"repairs"`
	LastRepair *cluster.Repair `json:"last_repair,omitempty"`

	// What its load monitor measured, 0..1; nil: not known.
	CPU       *float64 `json:"cpu,omitempty"`
	Memory    *float64 `json:"memory,omitempty"`
	Conntrack *float64 `json:"conntrack,omitempty"` // how full the table of tracked connections is
	Monitor   string   `json:"monitor,omitempty"`   // where that answers
}

// Services are all services, or the one that is named.
func Services(s *cluster.Snapshot, name string) ([]ServiceRow, error) {
	chosen, err := choose(s, name)
	var rows []ServiceRow
	for _, in := range chosen {
		rows = append(rows, ServiceRowOf(cluster.Resolve(in)))
	}
	return rows, err
}

// ServiceRowOf is the row of one service.
func ServiceRowOf(r *cluster.Resolved) ServiceRow {
	s := r.Service
	row := ServiceRow{
		Name: s.Name, Frontends: []string{}, Balance: balance(s), Affinity: affinity(s), Locality: locality(s), Sources: sources(s),
		Check: Check(s), Load: Load(s), Latency: Latency(s), Instances: len(r.Instances), Revision: s.ModRevision, Problems: r.Problems,
	}
	for _, f := range r.Frontends {
		row.Frontends = append(row.Frontends, f.String())
	}
	idle := 0
	for _, i := range r.Instances {
		if i.Takes() {
			row.Taking++
		}
		if i.Instance.Standby && i.Status == cluster.Standby || i.Instance.Draining && i.Status == cluster.Draining {
			idle++
		}
	}
	if s.Balance == cluster.BalanceAdaptive {
		percent := Blend(s)
		row.Blend = &percent
	}
	if row.Status = statusOf(row, idle); r.Asleep() && len(row.Frontends) > 0 {
		row.Status = Asleep
	}
	return row
}

// Asleep is the status of a service that has no instance until somebody connects.
const Asleep = "asleep"

// statusOf is what to know of a service first. Those that are kept for when they are needed, and those that
// their launcher takes out since there are enough, are not missing.
func statusOf(r ServiceRow, idle int) string {
	switch {
	case r.Instances == 0:
		return "empty"
	case r.Taking == 0 || len(r.Frontends) == 0:
		return "down"
	case r.Taking+idle < r.Instances || len(r.Problems) > 0:
		return "degraded"
	}
	return "ok"
}

// Instances are those of all services, or of the one that is named.
func Instances(s *cluster.Snapshot, name string, now time.Time) ([]InstanceRow, error) {
	chosen, err := choose(s, name)
	var rows []InstanceRow
	for _, in := range chosen {
		r, sums := cluster.Resolve(in), map[bool]int{}
		for _, i := range r.Instances {
			sums[i.Instance.Addr.Is4()] += i.Weight
		}
		for _, i := range r.Instances {
			rows = append(rows, instanceRow(in, i, sums[i.Instance.Addr.Is4()], now))
		}
	}
	return rows, err
}

func instanceRow(in *cluster.Inputs, s cluster.State, sum int, now time.Time) InstanceRow {
	row := InstanceRow{
		Service: in.Service.Name, ID: s.Instance.ID, Address: s.Instance.Address(), Node: cmp.Or(s.Instance.Node, s.Node), Zone: s.Zone,
		Weight: s.Weight, By: in.WeightBy(s.Instance), State: s.Status, Reason: s.Reason, Output: in.OutputOf(s), Since: s.Since,
		From: "file", Labels: s.Instance.Labels, Age: age(s.Since, now),
	}
	if sum > 0 {
		row.Share = 100 * float64(s.Weight) / float64(sum)
	}
	if s.Instance.Node != "" {
		row.From = "node"
	}
	return row
}

func age(since, now time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return max(time.Millisecond, now.Sub(since)) // clocks differ; a negative age says nothing
}

func choose(s *cluster.Snapshot, name string) ([]*cluster.Inputs, error) {
	if name != "" {
		in, err := find(s, name)
		if err != nil {
			return nil, err
		}
		return []*cluster.Inputs{in}, nil
	}
	all := maps.Collect(s.Services.All())
	return slices.SortedFunc(maps.Values(all), func(a, b *cluster.Inputs) int { return strings.Compare(a.Service.Name, b.Service.Name) }), nil
}

// Fleet is what the nodes told.
type Fleet struct {
	Alive     map[string]bool
	Applied   map[string]cluster.Applied
	Loadmons  map[string]cluster.Loadmon // load monitors that are processes of their own, as far as they complain
	Repairs   map[string]cluster.Repairs
	Gone      map[string]cluster.Gone     // what the leader makes of those that are not alive
	Launchers map[string]cluster.Launcher // those that are in touch
}

// Problems are what a node tells of itself: its agent, and its load monitor where that is a process of its own. Of many, only the
// first are told; count is how many there are.
func (f Fleet) Problems(node string) (problems []cluster.Problem, count int) {
	a, l := f.Applied[node], f.Loadmons[node]
	problems, count = a.Problems, max(a.ProblemCount, len(a.Problems))
	var more []cluster.Problem
	for _, p := range l.Problems {
		if !slices.Contains(a.Problems, p) { // else the agent has taken over a moment ago
			more = append(more, p)
		}
	}
	return cluster.MergeProblems(problems, more), count + l.Count() - (len(l.Problems) - len(more))
}

// Untold is of how many problems no more than their number is told, by the node with the most of these: those of
// others may be the same ones.
func (f Fleet) Untold() (most int) {
	for _, node := range f.telling() {
		told, count := f.Problems(node)
		most = max(most, count-len(told))
	}
	return most
}

// telling are the nodes that may tell of problems.
func (f Fleet) telling() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(f.Applied)), maps.Keys(f.Loadmons))
	slices.Sort(names)
	return slices.Compact(names)
}

// Nodes are all nodes that are known, alive or have told something, or the one that is named.
func Nodes(s *cluster.Snapshot, fleet Fleet, name string, now time.Time) ([]NodeRow, error) {
	rows := map[string]*NodeRow{}
	row := func(n string) *NodeRow {
		if rows[n] == nil {
			rows[n] = &NodeRow{Name: n}
		}
		return rows[n]
	}
	for n, alive := range fleet.Alive {
		row(n).Alive = alive
	}
	for n, a := range fleet.Applied {
		r := row(n)
		r.Applied, r.TookMS, r.Stale, r.At, r.Age = a.Revision, a.TookMS, a.Stale, a.At, age(a.At, now)
	}
	for n, repairs := range fleet.Repairs {
		r := row(n)
		if r.Repairs = repairs.Count; len(repairs.Newest) > 0 {
			r.LastRepair = &repairs.Newest[0]
		}
	}
	for n, node := range s.Nodes.All() {
		r := row(n)
		r.Version, r.Monitor = node.Version, node.Monitor
		for _, a := range node.Addresses {
			r.Addresses = append(r.Addresses, a.String())
		}
	}
	for n := range s.Down {
		row(n)
	}
	countHosts(s, row)
	newest := newestChange(s)
	var out []NodeRow
	for _, n := range slices.Sorted(maps.Keys(rows)) {
		r := rows[n]
		r.Lag = max(0, newest-r.Applied)
		r.Problems, r.ProblemCount = fleet.Problems(n)
		r.State, r.Reason, r.Since = nodeState(s, *r, fleet.Gone[n])
		r.For = age(r.Since, now)
		if name == "" || name == n {
			out = append(out, *r)
		}
	}
	if name != "" && len(out) == 0 {
		return nil, &NotFoundError{fmt.Sprintf("node %q", name), slices.Sorted(maps.Keys(rows))}
	}
	return out, nil
}

// newestChange is the revision of the last change that concerns nodes. The store's own revision also moves when they
// report.
func newestChange(s *cluster.Snapshot) int64 {
	newest := s.Barrier
	for _, in := range s.Services.All() {
		newest = max(newest, in.Service.ModRevision)
	}
	return newest
}

func countHosts(s *cluster.Snapshot, row func(string) *NodeRow) {
	for _, in := range s.Services.All() {
		for _, h := range in.Hosts {
			row(h.Node).Instances++
		}
	}
}

// nodeState is what to know of a node first, why, and since when.
func nodeState(s *cluster.Snapshot, r NodeRow, gone cluster.Gone) (state, reason string, since time.Time) {
	down, admin := s.Down[r.Name], s.NodeAdmin[r.Name]
	switch {
	case down != nil:
		return "down", down.Reason, down.Since
	case !r.Alive && gone.State == cluster.Unwatched:
		return "unwatched", gone.Reason, gone.Since
	case admin != nil && admin.Drain:
		return "drained", admin.Reason, admin.Since
	case !r.Alive && gone.State != "":
		return "gone", gone.Reason, gone.Since
	case !r.Alive:
		return "gone", "its agent is not in touch with etcd", r.At
	case admin != nil && admin.Cordon:
		return "cordoned", admin.Reason, admin.Since
	}
	return "alive", "", time.Time{}
}
