package sample

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

// Listening are the TCP sockets of this network namespace that listen, without a look at their processes.
func Listening() ([]netip.AddrPort, error) {
	sockets := map[cluster.Listener]uint32{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if err := listen(family, cluster.TCP, sockets); err != nil {
			return nil, fmt.Errorf("list the listening sockets: %w", err)
		}
	}
	out := make([]netip.AddrPort, 0, len(sockets))
	for l := range sockets {
		out = append(out, l.Address)
	}
	return out, nil
}
