package status

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
)

// Known is what a picture is made of.
type Known struct {
	Now        time.Time
	Diagnosis  *etcd.Diagnosis
	Snapshot   *cluster.Snapshot
	Fleet      controlcenter.Fleet
	Operations *cluster.Operations
	Candidates []etcd.Candidacy
	Page       *Page // what the leader itself says; nil: it was not asked
}

// Page is what the leader's own pages say.
type Page struct {
	Problems []string `json:"problems"` // a line each
	Pending  int      `json:"pending"`  // what it has decided about launched instances, and is not done
	Error    string   `json:"error,omitempty"`
}

// Status is the picture. Times are by the clock of who wrote them.
type Status struct {
	At        time.Time `json:"at"`
	Revision  int64     `json:"revision"`
	Leader    Leader    `json:"leader"`
	Etcd      Etcd      `json:"etcd"`
	Nodes     Nodes     `json:"nodes"`
	Agents    Agents    `json:"agents"`
	Launchers Launchers `json:"launchers"`
	Guards    Guards    `json:"guards"`
	Services  Services  `json:"services"`
	Problems  []Problem `json:"problems"` // what needs a person
}

// Leader is who decides, and who would.
type Leader struct {
	Name   string    `json:"name,omitempty"`   // "": nobody
	Since  time.Time `json:"since,omitzero"`   // it leads
	Term   int64     `json:"term,omitempty"`   // the revision of its election: it rises from one leader to the next
	Others []string  `json:"others,omitempty"` // in the order in which they would follow
	Asked  bool      `json:"asked"`            // its own pages were
	Pages  string    `json:"pages,omitempty"`  // where they are
	Page   *Page     `json:"page,omitempty"`
}

// Etcd is the store.
type Etcd struct {
	Leader  string   `json:"leader,omitempty"` // member; "": none is known
	Members []Member `json:"members"`
}

// Member is one endpoint of it.
type Member struct {
	Name    string   `json:"name,omitempty"`
	URL     string   `json:"url"`
	OK      bool     `json:"ok"`
	Error   string   `json:"error,omitempty"`
	Version string   `json:"version,omitempty"`
	Size    int64    `json:"size,omitempty"`  // of the database, bytes
	Quota   int64    `json:"quota,omitempty"` // 0: it does not tell
	Alarms  []string `json:"alarms,omitempty"`
}

// Nodes are those that are known, by their state.
type Nodes struct {
	States map[string]int      `json:"states"`
	Names  map[string][]string `json:"names,omitempty"` // of those that are not simply alive
}

// Agents are how far the nodes are.
type Agents struct {
	Newest  int64    `json:"newest"` // the revision of the last change that concerns nodes
	Applied int      `json:"applied"`
	Of      int      `json:"of"` // that are alive
	Behind  []string `json:"behind,omitempty"`
	Lag     int64    `json:"lag,omitempty"` // of the slowest, in revisions
}

// Launchers are the nodes that start instances, and what they do.
type Launchers struct {
	Nodes    []string `json:"nodes,omitempty"`
	Assigned int      `json:"assigned"` // instances that are to run
	Ready    int      `json:"ready"`    // of these
	Leaving  int      `json:"leaving"`
	Lost     int      `json:"lost,omitempty"` // on nodes that were declared down, where nobody knows what still runs
}

// Guards are what holds Weir back, or is permitted by name.
type Guards struct {
	Deletions []string `json:"deletions,omitempty"` // nodes that hold deletions back
	Nodes     []string `json:"nodes,omitempty"`     // that may be dead, and are not declared down
	Paused    bool     `json:"paused"`
	Insecure  []string `json:"insecure,omitempty"` // who accepts an unsafe etcd
	Rollback  []string `json:"rollback,omitempty"` // nodes that say that etcd fell back
}

// Services are how many there are of each kind.
type Services struct {
	Ready  int `json:"ready"`  // as many take connections as should
	Short  int `json:"short"`  // fewer
	Zero   int `json:"zero"`   // none
	Asleep int `json:"asleep"` // none, as none should
	Panic  int `json:"panic"`  // failing instances are in use, since most fail
}

// Problem is one thing that needs a person, and the command that looks further.
type Problem struct {
	What string `json:"what"`
	Look string `json:"look"`
}

// Of makes the picture.
func Of(k Known) Status {
	s := Status{
		At: k.Now, Revision: k.Snapshot.Revision, Leader: leader(k), Etcd: store(k.Diagnosis), Launchers: launchers(k.Snapshot, k.Operations),
		Problems: []Problem{},
	}
	rows, _ := controlcenter.Nodes(k.Snapshot, k.Fleet, "", k.Now) // it fails only for a name that is not there
	s.Nodes, s.Agents, s.Guards = nodes(rows), agents(rows), guards(k, rows)
	var short []Problem
	s.Services, short = services(k)
	s.Problems = slices.Concat(s.Problems, leading(s.Leader), findings(k), launching(k), short, told(k.Page))
	return s
}

func leader(k Known) Leader {
	l := Leader{Asked: k.Page != nil, Page: k.Page}
	for i, c := range k.Candidates {
		if i == 0 {
			l.Name, l.Since, l.Term, l.Pages = c.Name, cmpTime(c.Leads, c.Since), c.Term, c.Pages
			continue
		}
		l.Others = append(l.Others, c.Name)
	}
	return l
}

func cmpTime(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

func store(d *etcd.Diagnosis) Etcd {
	out, names := Etcd{Members: []Member{}}, map[uint64]string{}
	for _, m := range d.Members {
		names[m.ID] = m.Name
	}
	seen := map[uint64]bool{}
	for _, e := range d.Endpoints {
		if e.Err == nil && seen[e.Member] {
			continue
		}
		m := Member{URL: e.URL, OK: e.Err == nil && e.Leader != 0 && len(e.Alarms) == 0, Version: e.Version, Size: e.Size, Quota: e.Quota, Alarms: e.Alarms}
		switch {
		case e.Err != nil:
			m.Error = e.Err.Error()
		case e.Leader == 0:
			m.Error = "it knows no leader"
		}
		if e.Err == nil {
			seen[e.Member], m.Name = true, names[e.Member]
			out.Leader = cmp.Or(names[e.Leader], out.Leader)
		}
		out.Members = append(out.Members, m)
	}
	return out
}

func nodes(rows []controlcenter.NodeRow) Nodes {
	out := Nodes{States: map[string]int{}, Names: map[string][]string{}}
	for _, r := range rows {
		out.States[r.State]++
		if r.State != "alive" {
			out.Names[r.State] = append(out.Names[r.State], r.Name)
		}
	}
	return out
}

func agents(rows []controlcenter.NodeRow) (out Agents) {
	for _, r := range rows {
		out.Newest = max(out.Newest, r.Applied+r.Lag)
		if !r.Alive {
			continue
		}
		if out.Of++; r.Lag == 0 {
			out.Applied++
			continue
		}
		out.Behind, out.Lag = append(out.Behind, r.Name), max(out.Lag, r.Lag)
	}
	return out
}

func launchers(s *cluster.Snapshot, ops *cluster.Operations) Launchers {
	out := Launchers{Nodes: slices.Sorted(maps.Keys(ops.Launchers))}
	for node, assigned := range ops.Assigned {
		_, down := s.Down[node]
		for id, a := range assigned {
			switch {
			case ops.Launched[node][id].Refused():
				continue
			case down:
				out.Lost++
				continue
			case a.Wanted == cluster.WantDrained || a.Wanted == cluster.WantStopped:
				out.Leaving++
				continue
			case ops.Launched[node][id].Phase == cluster.PhaseReady:
				out.Ready++
			}
			out.Assigned++
		}
	}
	return out
}

func guards(k Known, rows []controlcenter.NodeRow) Guards {
	g := Guards{Paused: k.Snapshot.Config != nil && k.Snapshot.Config.Paused}
	for _, node := range slices.Sorted(maps.Keys(k.Fleet.Applied)) {
		a := k.Fleet.Applied[node]
		if a.Held != nil {
			g.Deletions = append(g.Deletions, node)
		}
		if a.Insecure {
			g.Insecure = append(g.Insecure, "agent of "+node)
		}
		if slices.ContainsFunc(a.Problems, func(p cluster.Problem) bool { return p.Object == "etcd" }) {
			g.Rollback = append(g.Rollback, node)
		}
	}
	for _, r := range rows {
		if k.Fleet.Gone[r.Name].State == cluster.HeldBack {
			g.Nodes = append(g.Nodes, r.Name)
		}
	}
	if k.Diagnosis.Insecure {
		g.Insecure = append(g.Insecure, "this command")
	}
	return g
}
