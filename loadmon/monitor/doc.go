// Package monitor is one node's running load monitor, and the client of those who ask it.
//
//	snapshots --Deliver--> sample each 5 s --> GET /v1/load
//	                       checks          --> net/health/<node>, when a verdict changed
//	                                           POST /v1/look: does an instance accept connections from here?
//
// Guarantees:
//   - Who does not have the token of ops/secret gets nothing; where etcd has TLS, who has no certificate of its CA does not
//     even get to ask. Beyond loopback nothing is plain, unless that was asked for by name.
//   - It connects to known instances of its snapshot only, whoever asks for what.
//   - Verdicts are written when they change, at most once a second; where nothing changes nothing is written. Figures never
//     are.
//   - What fails here is told by logs and metrics, and tried again. The node's rules do not depend on it.
package monitor
