// Package monitor is one node's running load monitor, and the client of those who ask it.
//
//	snapshots --Deliver--> sample --> GET /v1/load
//	                       checks --> net/health/<node>, when a verdict changed
//	                                  POST /v1/look: does an instance accept connections from here?
//	problems ----------> ops/loadmons/<node>, of a process of its own; those of one in an agent are the agent's
//
// A sample is taken when somebody asks, at most every 2.5 s, and unasked every 6 s (by the default of Config.Interval).
//
// Guarantees:
//   - Who does not have the token of ops/secret gets nothing; where etcd has TLS, who has no certificate of its CA does not
//     even get to ask. Beyond loopback nothing is plain, unless that was asked for by name.
//   - It connects to known instances of its snapshot only, whoever asks for what.
//   - Verdicts are written when they change, once a second on average, after a rest four times within one; where nothing
//     changes nothing is written. Figures never are.
//   - What a process of its own complains of is in etcd as long as it does, and gone with that process.
//   - What fails here is told by logs and metrics, and tried again. The node's rules do not depend on it.
package monitor
