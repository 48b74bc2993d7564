// Package loadmon knows how the instances of a service are doing, and decides what share of new connections each takes.
//
//	Report (one node, JSON) --Accept--> Measured --Weights(state, ...)--> State, Decision --> cluster.Weights
//
// Guarantees, each kept by a property test:
//   - Weights is pure: it reads no clock and no host, and does not depend on the order of what it is given.
//   - Shares are positive whole numbers with the sum Whole.
//   - In one decision no weight moves by more than a quarter, whatever the reports say. Slow start of a new instance, which
//     no report can cause, is the exception.
//   - A report that cannot be true becomes a cluster.Problem; the last good figure stays.
//   - No jump of a clock counts for more than 15 seconds.
package loadmon
