package main

import (
	"cmp"
	"maps"
	"net/http"
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/door"
)

// station is a node that may have output of a service.
type station struct {
	question door.Question
	why      string // it cannot be asked
}

// launched says whether instances of a service are, or were a short while ago, on any node.
func launched(ops *cluster.Operations, service string) bool {
	for node := range ops.Assigned {
		if hostsAny(ops, node, service) {
			return true
		}
	}
	return false
}

func hostsAny(ops *cluster.Operations, node, service string) bool {
	for _, a := range ops.Assigned[node] {
		if a.Service == service && cmp.Or(a.Run.Driver, cluster.DriverProcess) == cluster.DriverProcess {
			return true
		}
	}
	return false
}

// stationsOf are the nodes whose launchers run programs: any of them may have had an instance that has ended.
func stationsOf(service string, snapshot *cluster.Snapshot, ops *cluster.Operations) (out []station) {
	nodes := map[string]bool{}
	for node, l := range ops.Launchers {
		permitted := len(l.Services) == 0 || slices.Contains(l.Services, service)
		if slices.Contains(l.Drivers, cluster.DriverProcess) && permitted {
			nodes[node] = true
		}
	}
	for node := range ops.Assigned {
		if hostsAny(ops, node, service) {
			nodes[node] = true
		}
	}
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		l, there := ops.Launchers[node]
		record, _ := snapshot.Nodes.Get(node)
		st := station{question: door.Question{Node: node, Record: record, What: "launcher", URL: l.Logs, Method: http.MethodGet}}
		switch {
		case !there:
			st.why = "its launcher is not in touch with etcd"
		case l.Logs == "":
			st.why = "its launcher does not hand out logs (--logs-listen)"
		}
		out = append(out, st)
	}
	return out
}
