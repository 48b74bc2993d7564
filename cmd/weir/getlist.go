package main

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/plain"
)

func servicesListing(rows []controlcenter.ServiceRow) listing {
	l := listing{columns: []string{"NAME", "FRONTENDS", "TAKING", "STATUS", "BALANCE", "ACTIVE", "BUSY", "LATENCY", "CHECK", "AFFINITY", "LOCALITY", "SOURCES", "REVISION", "PROBLEMS"}, narrow: 5, data: orEmpty(rows)}
	for _, r := range rows {
		l.names = append(l.names, "service/"+r.Name)
		l.rows = append(l.rows, []string{
			r.Name, strings.Join(r.Frontends, ","), fmt.Sprintf("%d/%d", r.Taking, r.Instances), r.Status, r.Balance,
			count(r.Active), part(r.Busy), millis(r.LatencyMS), r.Check, r.Affinity, r.Locality, r.Sources,
			strconv.FormatInt(r.Revision, 10), errorsOf(r.Problems),
		})
	}
	return l
}

func instancesListing(rows []controlcenter.InstanceRow) listing {
	l := listing{columns: []string{"SERVICE", "INSTANCE", "STATE", "WEIGHT", "SHARE", "AGE", "REASON", "HAVE", "ADDRESS", "NODE", "ZONE", "BY", "ACTIVE", "BUSY", "LATENCY", "SINCE", "OUTPUT", "FROM", "LABELS"}, narrow: 7, data: orEmpty(rows)}
	for _, r := range rows {
		var labels []string
		for k, v := range r.Labels {
			labels = append(labels, k+"="+v)
		}
		l.names = append(l.names, "instance/"+r.Service+"/"+r.ID)
		l.rows = append(l.rows, []string{
			r.Service, r.ID, string(r.State), strconv.Itoa(r.Weight), percent(&r.Share), ago(r.Age), r.Reason,
			percent(r.Have), r.Address, r.Node, r.Zone, string(r.By), count(r.Active), part(r.Busy), millis(r.LatencyMS), moment(r.Since), r.Output, r.From, sortedJoin(labels),
		})
	}
	return l
}

func percent(share *float64) string {
	if share == nil {
		return ""
	}
	return fmt.Sprintf("%.1f%%", *share)
}

// firstProblems keeps a line a line: -o json has more of them, /debug/problems on the node all.
func firstProblems(r controlcenter.NodeRow) string {
	const few = 3
	text := errorsOf(r.Problems[:min(few, len(r.Problems))])
	if more := r.ProblemCount - few; more > 0 {
		text += fmt.Sprintf("; %d more", more)
	}
	return text
}

// lastRepair is one repair in words: "table ip weir: rule made by nft (pid 7) at 12:00:00, wrong for 2 ms".
func lastRepair(r *cluster.Repair) string {
	if r == nil {
		return ""
	}
	text := r.What
	if r.Who != "" {
		text += " by " + r.Who
	}
	return fmt.Sprintf("%s at %s, wrong for %.0f ms", text, r.At.Format(time.RFC3339), r.WrongMS)
}

func nodesListing(rows []controlcenter.NodeRow) listing {
	l := listing{columns: []string{"NAME", "STATE", "SINCE", "APPLIED", "LAG", "PROBLEMS", "REPAIRS", "STALE", "AGE", "VERSION", "REASON", "CPU", "MEMORY", "CONNTRACK", "TOOK", "INSTANCES", "ADDRESSES", "MONITOR", "WHAT", "LAST REPAIR"}, narrow: 11, data: orEmpty(rows)}
	for _, r := range rows {
		l.names = append(l.names, "node/"+r.Name)
		l.rows = append(l.rows, []string{
			r.Name, r.State, ago(r.For), strconv.FormatInt(r.Applied, 10), strconv.FormatInt(r.Lag, 10), strconv.Itoa(r.ProblemCount), strconv.Itoa(r.Repairs), strconv.FormatBool(r.Stale),
			ago(r.Age), r.Version, r.Reason,
			part(r.CPU), part(r.Memory), part(r.Conntrack), fmt.Sprintf("%.1f ms", r.TookMS), strconv.Itoa(r.Instances), strings.Join(r.Addresses, ","), r.Monitor, firstProblems(r), lastRepair(r.LastRepair),
		})
	}
	return l
}

func troublesListing(rows []controlcenter.Trouble, now time.Time) listing {
	l := listing{columns: []string{"OBJECT", "NODE", "AGE", "WHAT", "FIX", "SERVICE", "OUTPUT"}, narrow: 5, data: orEmpty(rows)}
	for _, r := range rows {
		age := ""
		if !r.Since.IsZero() {
			age = ago(now.Sub(r.Since))
		}
		l.names = append(l.names, r.Object)
		l.rows = append(l.rows, []string{r.Object, cmp.Or(plain.Few(r.Nodes), r.Node), age, r.Wrong(), r.Fix, r.Service, strings.Join(r.Output, " | ")})
	}
	return l
}

func count(n *uint64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(*n, 10)
}

// part is a part of 1 in percent.
func part(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100**v)
}

func millis(v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("%.1fms", *v)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
