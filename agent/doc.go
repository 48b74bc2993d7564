// Package agent keeps one node equal to the newest snapshot of the cluster: its rules, the routes to the VIPs, and the
// connection tracking entries that would hold clients to instances that are gone.
//
// Guarantees:
//   - One goroutine writes rules. It works from the newest snapshot only; what arrives while it writes is coalesced.
//   - Rules come before routes, routes before the word "applied"; at removal the other way round. So an address is never
//     routed to this node without rules for it.
//   - What works keeps working: when etcd, the state directory or a single service fails, everything else is served.
//     Nothing is removed at stop.
//   - Whoever else changes our rules is noticed, named in the log as far as the kernel tells, and repaired.
//
// The package decides when; package rules decides what. Store and driver come in through the interfaces below.
package agent
