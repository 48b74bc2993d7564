// Package launcher says what it means to run an instance on a node, whoever runs it.
//
//	Spec --Driver.Ensure--> a running instance --Driver.List--> Status
//	                                           --Driver.Stop--> nothing left of it
//
// Guarantees of every driver, each kept by the suite of launchertest:
//   - Ensure and Stop may be called again at any time, also after a crash of the caller in their middle, also at the same
//     time: an instance runs once or not at all.
//   - A driver that is closed, or whose process is killed, touches no instance. The next one finds all of them.
//   - After Stop nothing that the instance started is left, whether it obeyed or not.
//   - Whether, and when, an instance that ended is started again is the caller's decision: a driver tells how often it
//     started it and how it ended.
//   - What an instance or a hook says is bounded and printable before it is kept.
package launcher
