// Package foreman has the leader keep as many instances of each service running as are wanted, where there is room.
//
//	snapshot, operations --wants--> how many of each --placement.Plan--> actions --> etcd --> launchers
//	operations --notices--> events of instances that ended by themselves
//
// How many are wanted: what an operator pinned by weir scale, else what the load asks for (loadmon.Scale), else what the
// service's file says, else one. One goroutine decides; it does not decide again before it has seen what it wrote. A service
// of which something cannot be written does not stop the others, and a write that fails changes no memory.
package foreman
