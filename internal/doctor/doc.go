// Package doctor looks for what keeps Weir from working, or would one day: on a node, and around the cluster's etcd.
//
// Facts are gathered first, by thin functions that change nothing: a Host, or an etcd.Diagnosis with what the nodes told.
// What they mean is decided by checks, which are pure: from facts to findings. Each finding says what was seen, why it
// matters, and the command or setting that mends it.
package doctor
