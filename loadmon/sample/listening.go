package sample

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/netdump"
)

// Listening are the TCP sockets of this network namespace that listen, without a look at their processes.
func Listening() (out []netip.AddrPort, err error) {
	err = listening(cluster.TCP, func(l cluster.Listener, _ uint32) { out = append(out, l.Address) })
	return out, err
}

// Of linux/inet_diag.h and net/tcp_states.h.
const (
	diagMessageLen = 72
	diagIDLen      = 48 // struct inet_diag_sockid
	byFamily       = 20 // SOCK_DIAG_BY_FAMILY
	everyTCP       = 18 // TCPDIAG_GETSOCK
	stateClose     = 7  // UDP sockets without a peer
	stateListen    = 10
)

// listening hands over each listening socket of a protocol. Only those are asked for: a busy host has tens of thousands in other
// states.
func listening(proto cluster.Proto, each func(l cluster.Listener, inode uint32)) error {
	if proto == cluster.TCP {
		// The old form of the question: it is answered for both families at once, so that the kernel walks through its table once.
		request := make([]byte, 4, 4+diagIDLen+8)
		request = binary.NativeEndian.AppendUint32(append(request, make([]byte, diagIDLen)...), 1<<stateListen)
		return diagnosed(everyTCP, append(request, 0, 0, 0, 0), proto, each)
	}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := binary.NativeEndian.AppendUint32([]byte{family, unix.IPPROTO_UDP, 0, 0}, 1<<stateClose)
		if err := diagnosed(byFamily, append(request, make([]byte, diagIDLen)...), proto, each); err != nil {
			return err
		}
	}
	return nil
}

func diagnosed(kind uint16, request []byte, proto cluster.Proto, each func(cluster.Listener, uint32)) error {
	err := netdump.Each(unix.NETLINK_SOCK_DIAG, kind, request, func(m []byte) error {
		if l, inode, ok := diagnose(m, proto); ok {
			each(l, inode)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the listening sockets: %w", err)
	}
	return nil
}

// diagnose reads one inet_diag_msg.
func diagnose(m []byte, proto cluster.Proto) (e cluster.Listener, inode uint32, ok bool) {
	if len(m) < diagMessageLen {
		return cluster.Listener{}, 0, false
	}
	addr := netip.AddrFrom16([16]byte(m[8:24]))
	if m[0] == unix.AF_INET {
		addr = netip.AddrFrom4([4]byte(m[8:12]))
	}
	port := binary.BigEndian.Uint16(m[4:])
	return cluster.Listener{Address: netip.AddrPortFrom(addr.Unmap(), port), Proto: proto}, binary.NativeEndian.Uint32(m[68:]), true
}
