// Package sample knows what one node's kernel, and the instances on it, say of their load.
//
//	sockets, control groups, tracked connections, rules' counters --Sampler--> loadmon.Report
//
// Guarantees:
//   - Rates are made of a clock that does not jump, and a counter that begins anew counts from there.
//   - An instance of which no process is found is left out of a report: without figures it keeps its weight.
package sample
