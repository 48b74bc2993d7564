package loadmon

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// MaxReportBytes is what one node may answer: 5,000 instances of 800 bytes.
const MaxReportBytes = 4 << 20

// maxComplaints is how many bad loads of one report are told of one by one.
const maxComplaints = 20

// Report is what GET /v1/load answers: the loads of one node's instances.
type Report struct {
	Node    string    `json:"node"`
	At      time.Time `json:"at"`       // the node's clock; only to tell old from new
	UptimeS float64   `json:"uptime_s"` // since the monitor started, by a clock that does not jump: what rates are made of
	Host    HostLoad  `json:"host,omitzero"`
	Loads   []Load    `json:"loads"`
}

// Measured is a Load with what its report says of its time.
type Measured struct {
	Load
	Node   string
	At     time.Time
	Uptime time.Duration
}

// ReadReport reads one report. A load that cannot be read harms only itself. Fields that are not known are ignored: the
// node may be newer than its reader.
func ReadReport(r io.Reader) (Report, []cluster.Problem, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxReportBytes+1))
	if err != nil {
		return Report{}, nil, fmt.Errorf("read the report: %w", err)
	}
	if len(text) > MaxReportBytes {
		return Report{}, nil, fmt.Errorf("the report is larger than %d bytes: is this the load monitor's address?", MaxReportBytes)
	}
	var raw struct {
		Report
		Host  json.RawMessage   `json:"host"` // these win over the fields of the same names one level deeper
		Loads []json.RawMessage `json:"loads"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return Report{}, nil, fmt.Errorf("the report cannot be read: %s", plain.JSON(text, err))
	}
	report, complaint := raw.Report, complaints{object: "node " + raw.Node}
	if len(raw.Host) > 0 {
		report.Host = readHost(raw.Host, &complaint)
	}
	for i, text := range raw.Loads {
		var l Load
		if err := json.Unmarshal(text, &l); err != nil {
			complaint.add(fmt.Sprintf("loads[%d]", i), fmt.Sprintf("it cannot be read: %s; the last good figures stay", plain.JSON(text, err)), updateMonitor)
			continue
		}
		report.Loads = append(report.Loads, l)
	}
	return report, complaint.list(), nil
}

const (
	updateMonitor = "look at the load monitor's log on that node; is its version the same?"
	setClocks     = "set the clocks of that node and of the leader's host"
)

// Accept takes from a node's report what that node may speak of, hosts says whether an instance runs there, and what can be
// true whatever came before. It says what it leaves out; of that, the last good figures stay. Whether the counters can be
// true is judged by Weights, which knows the ones before.
func (r Report) Accept(node string, hosts func(service, instance string) bool) (map[string]map[string]Measured, []cluster.Problem) {
	complaint := complaints{object: "node " + node}
	if r.Node != node {
		complaint.add("node", fmt.Sprintf("its load monitor reports for node %q", r.Node), "give each agent its own --node, and each node its own address")
		return nil, complaint.list()
	}
	if !(r.UptimeS >= 0 && r.UptimeS <= maxUptime.Seconds()) { // also NaN
		complaint.add("uptime_s", fmt.Sprintf("%g s cannot be the time since its start", r.UptimeS), updateMonitor)
		return nil, complaint.list()
	}
	out := map[string]map[string]Measured{}
	for i, l := range r.Loads {
		field := fmt.Sprintf("loads[%d]", i)
		if !hosts(l.Service, l.Instance) {
			complaint.add(field, fmt.Sprintf("%q of service %q does not run on this node", l.Instance, l.Service), "only an instance's own node may report for it")
			continue
		}
		if why := l.implausible(); why != "" {
			complaint.add(field, fmt.Sprintf("%q of service %q: %s; the last good figures stay", l.Instance, l.Service, why), updateMonitor)
			continue
		}
		if out[l.Service] == nil {
			out[l.Service] = map[string]Measured{}
		}
		if _, twice := out[l.Service][l.Instance]; twice {
			complaint.add(field, fmt.Sprintf("%q of service %q is reported twice: the first counts", l.Instance, l.Service), updateMonitor)
			continue
		}
		out[l.Service][l.Instance] = Measured{Load: l, Node: node, At: r.At, Uptime: time.Duration(r.UptimeS * float64(time.Second))}
	}
	return out, complaint.list()
}

// complaints collects problems of one object, and counts those beyond the first ones.
type complaints struct {
	object   string
	problems []cluster.Problem
	more     int
}

func (c *complaints) add(field, what, fix string) {
	if len(c.problems) == maxComplaints {
		c.more++
		return
	}
	c.problems = append(c.problems, cluster.Problem{Object: c.object, Field: field, What: what, Fix: fix})
}

func (c *complaints) list() []cluster.Problem {
	if c.more > 0 {
		c.problems = append(c.problems, cluster.Problem{Object: c.object, What: fmt.Sprintf("%d more loads like these", c.more)})
	}
	return c.problems
}
