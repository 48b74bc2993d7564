// Package door is how members of a cluster ask a node over the network: a listener with a bounded number of connections, a
// token that is kept in etcd, and TLS by the certificates that etcd is reached with.
//
// Guarantees:
//   - Nobody without the token gets an answer, nor holds a connection. The token is remembered while etcd is away.
//   - A Client sends the token to an address of the node that it means, and to nobody else: no redirect, no proxy, no plain
//     http beyond loopback unless that was permitted by name.
//   - What a node answers is bounded by who reads it, and its errors are printable.
package door
