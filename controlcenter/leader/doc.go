// Package leader is what the elected control center does: it fetches the loads from the nodes, lets package loadmon decide
// over the weights, and writes what moved.
//
//	etcd --Watch--> Snapshot \
//	                          round: whom to ask -> fetch -> loadmon -> SetWeights + Event, fenced -> etcd
//	nodes --GET /v1/load---->/
//
// Guarantees:
//   - Whoever does not lead writes nothing: every write goes by the Writer of one leadership, which etcd refuses afterwards.
//   - A new leader goes on from the weights that are stored, as they were when it was elected or later.
//   - Loads are never written to etcd, and nothing is written while no share moves.
//   - A node that is silent, slow or lies harms its own instances only: they keep their weights, and a Problem says so.
//   - While the configuration says paused nothing is decided, and nothing is forgotten. What was decided before a pause that the
//     leader has not seen yet is refused by etcd.
package leader
