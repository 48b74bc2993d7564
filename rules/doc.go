// Package rules turns a cluster.Snapshot into what a node's kernel should hold, and that into the least that has to be
// written.
//
//	Snapshot --Build--> Ruleset (want) --Diff(have, want)--> Plan --Driver.Apply--> kernel
//
// Guarantees, each kept by a property test:
//   - Build and Diff are pure. They never see the host: what they must know of it comes in through Options and State.
//   - After a Plan was applied, Diff of the same two is empty.
//   - A fresh process that reads the kernel and wants the same writes nothing.
//   - Building on from an earlier Ruleset gives what building from scratch gives.
//   - No text that a user wrote reaches a Plan's kernel objects: they hold addresses, ports and numbers.
//
// Build states how many slots each target has. Diff, which sees what is there, decides which slot holds which target, so
// that a slot that need not change is not touched. A Driver writes; it decides nothing.
package rules
