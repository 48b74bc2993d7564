package doctor

import (
	"maps"
	"slices"
	"strings"

	"github.com/weir-lb/weir/etcd"
)

func authenticated(c *Cluster) ([]Finding, error) {
	a := c.Etcd.Access
	switch {
	case a.Err != nil:
		return nil, a.Err
	case a.Enabled:
		return nil, nil
	}
	severity := Note
	if slices.ContainsFunc(c.Etcd.Endpoints, func(e etcd.Endpoint) bool { return !e.Local }) {
		severity = Warn
	}
	return one(severity, "whoever reaches etcd decides where the traffic of every node goes, and a node taken over is a cluster taken over", "weir rbac NODE... prints the commands; the last one is etcdctl auth enable",
		"etcd does not ask who one is"), nil
}

func roles(c *Cluster) ([]Finding, error) {
	if !c.Etcd.Access.Enabled || c.Etcd.Access.Err != nil {
		return nil, errMoot // that is a finding of its own
	}
	found := CheckAccess(c.Etcd.Access, c.Prefix)
	if !c.Etcd.Access.All {
		found = append(found, one(Note, "what others may do is shown to etcd's root only", "run it with root's credential to see everybody", "only the rights of this user, %s, were looked at", c.Etcd.Access.Self)...)
	}
	return found, nil
}

const rootRole = "root"

// CheckAccess compares what users may do with what Weir prescribes.
func CheckAccess(a etcd.Access, prefix string) (out []Finding) {
	for _, name := range slices.Sorted(maps.Keys(a.Roles)) {
		if role, known := etcd.RoleNamed(name); known {
			out = append(out, compareRole(role, a.Roles[name], prefix)...)
		}
	}
	for _, user := range slices.Sorted(maps.Keys(a.Users)) {
		out = append(out, checkUser(user, a)...)
	}
	if slices.Contains(a.Users[a.Self], rootRole) {
		out = append(out, one(Note, "it may do everything, to everybody's keys", "for daily work use the user weir-operator, or weir-viewer", "this is etcd's root")...)
	}
	return out
}

// credential looks at what the flags at hand may do: on a node, whoever takes it over has them.
func credential(h *Host) ([]Finding, error) {
	a, err := h.Access.get()
	if err == nil && !a.Enabled {
		err = errMoot
	}
	if err != nil {
		return nil, err
	}
	if a.Err != nil {
		return nil, a.Err
	}
	if slices.Contains(a.Users[a.Self], rootRole) {
		return one(Warn, "whoever takes over this node takes over the cluster", "give the agent a user of its own: weir rbac NODE", "the credential given here is etcd's root"), nil
	}
	a.Users = map[string][]string{a.Self: a.Users[a.Self]}
	return CheckAccess(a, h.Prefix), nil
}

func compareRole(role etcd.Role, granted []etcd.Span, prefix string) (out []Finding) {
	if wide := etcd.Excess(granted, role.Spans(prefix)); len(wide) > 0 {
		severity, verb := Note, "read"
		if slices.ContainsFunc(wide, func(s etcd.Span) bool { return s.Write }) {
			severity, verb = Warn, "write"
		}
		out = append(out, one(severity, "whoever takes over one participant should gain that one alone", "etcdctl role get "+role.Name+", and revoke-permission what \"weir rbac\" does not print",
			"role %s may %s beyond its part: %s", role.Name, verb, list(wide))...)
	}
	if lacking := etcd.Excess(role.Spans(prefix), granted); len(lacking) > 0 {
		out = append(out, one(Warn, "something that Weir does will be denied", "run what \"weir rbac\" prints for that role", "role %s lacks rights: %s", role.Name, list(lacking))...)
	}
	return out
}

func list(spans []etcd.Span) string {
	const few = 3
	var words []string
	for _, s := range spans[:min(few, len(spans))] {
		words = append(words, s.String())
	}
	if len(spans) > few {
		words = append(words, "...")
	}
	return strings.Join(words, ", ")
}

// checkUser looks at who speaks for a node and may do more than that.
func checkUser(user string, a etcd.Access) []Finding {
	var nodes, others []string
	for _, name := range a.Users[user] {
		switch role, known := etcd.RoleNamed(name); {
		case strings.HasPrefix(name, "weir-node-"):
			nodes = append(nodes, name)
		case known && !writes(role.Spans("")), !known && name != rootRole && !writes(a.Roles[name]):
		default:
			others = append(others, name)
		}
	}
	switch {
	case len(nodes) == 0:
		return nil
	case len(others) > 0:
		return one(Warn, "whoever takes over that node may write with all of them", "etcdctl user revoke-role "+user+" "+others[0]+", and give that role a user of its own",
			"user %s speaks for a node (%s) and has also %s", user, nodes[0], strings.Join(others, ", "))
	case len(nodes) > 1:
		return one(Note, "whoever takes over one of these nodes may speak for all", "a user for each node: weir rbac NODE...", "user %s speaks for %d nodes", user, len(nodes))
	}
	return nil
}

func writes(spans []etcd.Span) bool {
	return slices.ContainsFunc(spans, func(s etcd.Span) bool { return s.Write })
}
