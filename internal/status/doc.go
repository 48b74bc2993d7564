// Package status is the picture of "weir status": who leads, how etcd, nodes, launchers and services are, and what needs a
// person, out of what etcd and its members say. It asks nobody itself.
package status
