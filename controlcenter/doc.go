// Package controlcenter is the operator's side of Weir: it reads service files, plans what publishing them would change,
// commits the plan and waits until the nodes have it.
//
// Guarantees:
//   - Planning is pure. A plan is made from a Snapshot and printed before anything is written; --dry-run is stopping there.
//   - Nothing is half written: a service is one transaction, and no service of a file is written before all of them
//     have been read, validated and planned.
//   - Publishing the same twice writes once.
//   - Every mistake of a file is reported at once, each with its line.
package controlcenter
