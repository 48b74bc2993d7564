// Package cluster holds the plain values that all parts of Weir share, and the one decision that all of them must take
// alike: which instance of a service takes traffic, with what weight, and why not.
//
// Guarantees:
//   - A Snapshot is immutable. A service whose inputs did not change keeps its *Inputs pointer from one Snapshot to the
//     next, so "did anything change?" is a comparison of pointers.
//   - Resolve is pure: it reads nothing but its argument, no clock and no host. Two nodes that hold the same Inputs
//     decide the same.
//   - A bad value harms only itself. It becomes a Problem, and everything around it goes on.
//
// The way through: the store feeds typed values into a Draft, Draft.Snapshot seals them, Resolve reads one service of
// the Snapshot.
package cluster
