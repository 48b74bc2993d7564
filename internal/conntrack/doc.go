// Package conntrack reads the kernel's table of tracked connections, deletes single entries of it, hears of new ones, and
// ends the sockets of local clients.
//
// It works in the network namespace of the calling thread. The netlink library has much of this too, but it reads every
// field of every entry by reflection and keeps the whole table in memory, knows no IPv6 sockets, and takes a listener for
// the connection that was to be ended.
package conntrack
