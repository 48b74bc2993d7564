// Package check finds out whether instances are well: it runs the checks of their services, reads the kernel's signs, and
// hears what they say of themselves.
//
//	Snapshot --assign--> task --probe--> Outcome --rung--> seen --damper--> told --> cluster.NodeHealth
//
// Guarantees:
//   - Only instances that cluster.Resolve does not refuse are connected to, so none outside the configured networks; no
//     redirect is followed and no name is looked up.
//   - A check is bounded in time (its timeout) and in memory (64 KiB are read, 256 bytes are kept), whatever answers.
//   - An instance is never checked twice at a time, and the checks of a node are spread over their intervals.
//   - What is told changes a bounded number of times, however fast an instance changes (see damper).
//   - Durations are measured by a clock that does not jump.
package check
