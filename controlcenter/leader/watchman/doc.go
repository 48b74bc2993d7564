// Package watchman decides which nodes are down, for as long as one control center leads.
//
//	ops/alive -------\
//	net/ (hosts) -----> Decide: who is gone, who looks, who is declared down -> SetDown + Event, SetGone, fenced -> etcd
//	other nodes' look /
//
// A node whose agent has been gone from etcd for 3 s may be dead, or may have lost its agent or its way to etcd alone. So two
// other nodes knock at its instances first:
//
//	one of them answers       unwatched: it keeps its traffic
//	none answers              down, if the guard lets it: its instances are out
//	nobody could knock        held: it keeps its traffic, and a Problem asks the operator
//
// Guarantees:
//   - Nobody is declared down before the leader has watched for a lease's whole time and 3 s, with an etcd that answers. That
//     begins anew with each leadership, and after each silence of etcd.
//   - At most max(1, 30 % of the nodes that host instances) are declared down within a minute, by one leader or several. When
//     more than that are gone at once none is: an alarm asks the operator, who has weir node down|forget.
//   - Without another node that can look nobody is declared down: a node that is alone never, of two the other one looks.
//   - Nobody is declared down after a pause, also where the leader has not seen it yet.
//   - Nothing is taken back here: that a node is down ends when its agent registers, in the same transaction.
//
// Decide is pure and reads no clock; Watchman carries out what it says.
package watchman
