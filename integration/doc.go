// Package integration runs whole clusters on one machine: real agents as processes of the real program, a real etcd, real
// packets between network namespaces. Its tests say what users are promised; a connection counts only when the id of an
// instance came back.
//
// World is the cluster; tests and the benchmark build on it. It needs root.
package integration
