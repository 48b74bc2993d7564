// Package sample knows what one node's kernel, and the instances on it, say of their load.
//
//	sockets, control groups, tracked connections, rules' counters --Sampler--> loadmon.Report --Metrics--> Prometheus
//	instances that tell their own load ---------------------------Asker--> the same report, and Words for the checks
//
// Guarantees:
//   - Rates are made of a clock that does not jump, and a counter that begins anew counts from there.
//   - Only addresses that this node's instances have, and that the configuration allows, are ever asked; what they answer is
//     bounded, and made printable before it is kept.
//   - An instance of which no process is found is left out of a report: without figures it keeps its weight.
package sample
