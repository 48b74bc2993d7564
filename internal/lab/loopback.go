package lab

import (
	"math/rand/v2"
	"net/netip"
)

// Loopback is a place for one server on this host, and nobody else comes to it: the address is the caller's alone, and the port
// is below those that are given to who asks for any. It is not taken to find out, since a child that another goroutine starts
// meanwhile would keep it for a moment.
func Loopback() netip.AddrPort {
	const lowest, ephemeral = 10_000, 32_768
	n := rand.Uint32N(1 << 22)
	address := netip.AddrFrom4([4]byte{127, 64 | byte(n>>16), byte(n >> 8), byte(n)})
	return netip.AddrPortFrom(address, lowest+uint16(rand.Uint32N(ephemeral-lowest)))
}
