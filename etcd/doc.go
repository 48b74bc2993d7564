// Package etcd is the store behind package cluster: key layout, codec, list and watch, the transactions of operators,
// and a node's presence.
//
// Guarantees:
//   - A snapshot is never a mix: all that one transaction wrote arrives in one snapshot, or none of it.
//   - Snapshot.Revision is a promise: every change of net/ up to it is in force in that snapshot. A list says the
//     revision that it was read at, a watch the revision of the last event. The header of a watch response says more
//     than has arrived and is never used. While deletions are held back the revision stays below them.
//   - A value that cannot be read is a Problem; what the key said before stays in force.
//   - A Commit happens whole or not at all, and never twice, also when the answer is lost on the way.
//   - Deletions that look like an accident (store wiped, restored, prefix deleted) are held back and keep serving.
//   - What a former leader writes is refused, whatever it believes.
//   - Nothing that runs here outlives the call that started it, except the connection, which Close ends.
//
// One Store talks to one member at a time. When a probe is not answered it turns to the next one and takes every watch
// with it: a frozen member would otherwise keep them silent for as long as it likes.
package etcd
