// Package shim is the small process that stands beside each instance: its parent, so that launcher and node agent may come
// and go.
//
//	launcher --start--> shim (own session) --fork--> instance (own session, own control group)
//	            order.json --->  | <--- stdout, stderr (pipes) ---- '
//	            record.0, .1 <---|---> output.log, .1, .2 and the log server
//
// Guarantees:
//   - It has no parent-death signal and does not share the session of its launcher: only its own end ends it.
//   - All orphans of the instance become its children, so none is lost, however they were detached.
//   - While it lives it holds a lock on its directory, handed over by the launcher: who finds the lock free knows that
//     there is no shim, without trusting a pid.
//   - What it must remember has its place on the disk from the beginning, so a full disk costs output, not facts.
//   - It never waits for a disk or a log server longer than the kernel does: what cannot be kept is counted and dropped.
package shim
