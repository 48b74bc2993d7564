// Package knock hears of connections that the rules hold. The kernel tells of them by NFLOG, the first bytes of a packet each,
// to one listener for each log group in a network namespace. It reads netlink itself: what is needed is
// one message that binds and one attribute that is read.
package knock
