// Package placement decides which node runs which instance.
//
//	services, nodes, what runs where, how many are wanted --Plan(state, ...)--> State, Actions
//
// Guarantees, each kept by a property test:
//   - Plan is pure: it reads no clock and no store, and what it is given in another order gives the same.
//   - A replacement is ready before what it replaces is taken out of traffic: by moving instances, by a new version or by
//     replacing those that are not well, the ready ones never become fewer than are wanted.
//   - An instance is stopped only after it took no new connections on every node, and had time for those that it had.
//   - A port of a node belongs to one instance at a time. It goes to another service only when no node can send it
//     connections that were meant for the one before.
//   - What cannot be read, or is held back, stops nothing.
//   - When everything is as it is wanted, nothing is done.
package placement
