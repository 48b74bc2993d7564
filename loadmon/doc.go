// Package loadmon knows how the instances of a service are doing, and decides what share of new connections each takes, and
// how many there should be.
//
//	Report (one node, JSON) --Accept--> Measured --Weights(state, ...)--> State, Decision --> cluster.Weights
//	                                                   State.Figures --Scale(state, ...)--> ScaleState, ScaleDecision
//
// Guarantees, each kept by a property test:
//   - Weights and Scale are pure: they read no clock and no host, and do not depend on the order of what they are given.
//   - Shares are positive whole numbers with the sum Whole.
//   - In one decision no weight moves by more than a quarter, whatever the reports say. Slow start of a new instance, which
//     no report can cause, and what an instance wishes of its own weight, where its service lets it, are the exceptions.
//   - A report that cannot be true becomes a cluster.Problem; the last good figure stays.
//   - In 15 seconds a service at most doubles, or grows by 4; it shrinks only to what was wished at most in a whole window.
//   - An instance without figures never moves the number of instances further than its figures would.
//   - No jump of a clock counts for more than 15 seconds.
package loadmon
