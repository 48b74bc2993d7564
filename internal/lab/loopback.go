package lab

import (
	"math/rand/v2"
	"net/netip"
)

// Loopback is an address of this host that is the caller's alone. A port that was free there stays free until a server comes
// (back) to it: elsewhere it may be given to somebody who asks for any port, or to a client.
func Loopback() netip.Addr {
	n := rand.Uint32N(1 << 22)
	return netip.AddrFrom4([4]byte{127, 64 | byte(n>>16), byte(n >> 8), byte(n)})
}
