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
//   - Of a list of instances that somebody else runs as many well ones serve as are wanted, where there are so many, and none of
//     them is exchanged for another.
//   - An instance moves off a busy node only where both nodes are more even afterwards, at most once in five minutes for each
//     service; with loads that do not change none comes back.
//   - A machine from a hook is given back only when nothing runs on it, and there are never more than its owner permits.
//   - When everything is as it is wanted, nothing is done.
package placement
