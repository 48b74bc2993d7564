package etcd

import (
	"fmt"
	"strings"
)

// Permission is what a role may do, in etcdctl's words.
type Permission string

// The permissions.
const (
	Read      Permission = "read"
	ReadWrite Permission = "readwrite"
)

// Grant is one permission on a key, or on all keys that begin with it. Keys are relative to the prefix.
type Grant struct {
	Permission Permission
	Key        string
	Prefix     bool
}

// Role is what one kind of participant needs, and no more.
type Role struct {
	Name   string
	About  string
	Grants []Grant
}

// Roles are the operator's, the leader's, the viewer's and one for each node: who holds the credential of a node can
// speak for that node alone.
func Roles(nodes ...string) []Role {
	out := []Role{
		{"weir-operator", "publishes, withdraws, drains, configures", operatorGrants()},
		{"weir-controlcenter", "all that an operator may, and what the leader decides", []Grant{
			{ReadWrite, "net/", true}, {ReadWrite, "ops/", true},
		}},
		{"weir-viewer", "looks, and cannot read the secret", viewerGrants()},
	}
	for _, node := range nodes {
		out = append(out, Role{"weir-node-" + node, "agent, launcher and load monitor of node " + node, nodeGrants(node)})
	}
	return out
}

func operatorGrants() []Grant {
	return []Grant{
		{Read, "net/", true}, {Read, "ops/", true},
		{ReadWrite, "net/services/", true}, {ReadWrite, "net/admin/", true}, {ReadWrite, "net/admin-node/", true},
		{ReadWrite, "net/weights/", true}, {ReadWrite, "net/called/", true}, {ReadWrite, "net/config", false}, {ReadWrite, "net/ready", false},
		{ReadWrite, "net/barrier", false}, {ReadWrite, "net/guard", false},
		{ReadWrite, "net/down/", true}, {ReadWrite, "net/nodes/", true}, {ReadWrite, "ops/vips/", true},
		{ReadWrite, "ops/scale/", true}, {ReadWrite, "ops/wake/", true}, {ReadWrite, "ops/moved/", true},
		// To forget a node is to remove what it said itself, too.
		{ReadWrite, "net/instances/", true}, {ReadWrite, "net/health/", true},
		{ReadWrite, "ops/applied/", true}, {ReadWrite, "ops/repairs/", true}, {ReadWrite, "ops/gone/", true},
		{ReadWrite, "ops/status/", true},
	}
}

func viewerGrants() []Grant {
	out := []Grant{{Read, "net/", true}, {Read, "ops/digest", false}, {Read, "ops/leader/", true}}
	for _, kind := range []string{"vips", "assign", "status", "ports", "scale", "events", "wake", "moved", "launchers", "loadmons", "repairs", "gone"} {
		out = append(out, Grant{Read, "ops/" + kind + "/", true})
	}
	return append(out, presenceGrant)
}

// presenceGrant covers ops/alive/ and ops/applied/ as one span: etcd wants one permission that covers a watched range.
var presenceGrant = Grant{Read, "ops/a", true}

func nodeGrants(node string) []Grant {
	out := []Grant{{Read, "net/", true}, {Read, "ops/secret", false}, {Read, "ops/digest", false}, {ReadWrite, "ops/wake/", true}}
	for _, kind := range []Kind{KindHealth, KindNode, KindDown, KindAlive, KindApplied, KindRepairs, KindLauncher, KindLoadmon} {
		out = append(out, Grant{ReadWrite, Key{Kind: kind, Node: node}.String(), false})
	}
	return append(out,
		Grant{ReadWrite, "net/instances/" + node + "/", true},
		Grant{ReadWrite, "ops/status/" + node + "/", true},
		Grant{Read, "ops/assign/" + node + "/", true})
}

// Commands are the etcdctl calls that make the role; prefix is the store's.
func (r Role) Commands(prefix string) []string {
	out := []string{"etcdctl role add " + r.Name}
	for _, g := range r.Grants {
		command := "etcdctl role grant-permission"
		if g.Prefix {
			command += " --prefix=true"
		}
		out = append(out, fmt.Sprintf("%s %s %s %s", command, r.Name, g.Permission, prefix+g.Key))
	}
	return out
}

// RBAC is a script of etcdctl calls that makes the roles and a user for each, under the store's prefix. With client
// certificates the user is the certificate's common name and has no password.
func (s *Store) RBAC(nodes ...string) (string, error) {
	for _, node := range nodes {
		if err := named(node); err != nil {
			return "", fmt.Errorf("roles for node %s: %w", printable(node), err)
		}
	}
	var b strings.Builder
	b.WriteString("# The user of etcd itself, without whom authentication cannot be switched on. As written, root and all others prove who\n" +
		"# they are by a client certificate with that common name. With passwords, write \"user add NAME:PASSWORD\" instead.\n")
	b.WriteString("etcdctl user add --no-password root\netcdctl user grant-role root root\n")
	for _, r := range Roles(nodes...) {
		fmt.Fprintf(&b, "\n# %s: %s\n%s\n", r.Name, r.About, strings.Join(r.Commands(s.prefix), "\n"))
		fmt.Fprintf(&b, "etcdctl user add --no-password %s\netcdctl user grant-role %s %s\n", r.Name, r.Name, r.Name)
	}
	b.WriteString("\netcdctl auth enable\n")
	return b.String(), nil
}
