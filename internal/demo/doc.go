// Package demo shows Weir at work on one machine: nodes, instances and a client in network namespaces, an embedded etcd,
// real agents and a control center as processes of their own, and real connections that count only when the instance's own
// id came back.
package demo
