package sample

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

// Listeners finds the processes that listen in this network namespace. One goroutine uses it.
type Listeners struct {
	proc string
	pids map[uint32]int // of the sockets found last, by inode: /proc is searched only for those that are new
}

// NewListeners begins without a memory.
func NewListeners() *Listeners { return &Listeners{proc: "/proc", pids: map[uint32]int{}} }

// Find gives the process of each listener that has one here. A socket that several processes share, as a server with
// worker processes does, counts for the one with the lowest id.
func (l *Listeners) Find(listeners []cluster.Listener) (map[cluster.Listener]int, error) {
	sockets := map[cluster.Listener]uint32{}
	for _, proto := range []cluster.Proto{cluster.TCP, cluster.UDP} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			if err := listen(family, proto, sockets); err != nil {
				return nil, fmt.Errorf("list the listening sockets: %w", err)
			}
		}
	}
	wanted, inodes := map[cluster.Listener]uint32{}, map[uint32]bool{}
	for _, e := range listeners {
		if inode, ok := match(sockets, e); ok {
			wanted[e], inodes[inode] = inode, true
		}
	}
	l.know(inodes)
	out := map[cluster.Listener]int{}
	for e, inode := range wanted {
		if pid, ok := l.pids[inode]; ok {
			out[e] = pid
		}
	}
	return out, nil
}

// match prefers the socket of the address to one of all addresses.
func match(sockets map[cluster.Listener]uint32, e cluster.Listener) (uint32, bool) {
	every := []netip.Addr{e.Address.Addr(), netip.IPv6Unspecified()}
	if e.Address.Addr().Is4() {
		every = []netip.Addr{e.Address.Addr(), netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	for _, addr := range every {
		if inode, ok := sockets[cluster.Listener{Address: netip.AddrPortFrom(addr, e.Address.Port()), Proto: e.Proto}]; ok {
			return inode, true
		}
	}
	return 0, false
}

// know keeps the processes of these sockets, and searches those that are not known or whose process does not hold them any
// more.
func (l *Listeners) know(inodes map[uint32]bool) {
	kept, missing := map[uint32]int{}, false
	for inode := range inodes {
		if pid, ok := l.pids[inode]; ok && slices.Contains(l.sockets(pid), inode) {
			kept[inode] = pid
		} else {
			missing = true
		}
	}
	if l.pids = kept; !missing {
		return
	}
	entries, _ := os.ReadDir(l.proc) // what cannot be read is not found
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		for _, inode := range l.sockets(pid) {
			if known, ok := l.pids[inode]; inodes[inode] && (!ok || pid < known) {
				l.pids[inode] = pid
			}
		}
	}
}

// sockets are the inodes of a process's sockets. A process that ends meanwhile has none.
func (l *Listeners) sockets(pid int) (inodes []uint32) {
	dir := filepath.Join(l.proc, strconv.Itoa(pid), "fd")
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		link, err := os.Readlink(filepath.Join(dir, entry.Name()))
		if err != nil {
			continue
		}
		text, ok := strings.CutPrefix(link, "socket:[")
		if inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32); ok && err == nil {
			inodes = append(inodes, uint32(inode))
		}
	}
	return inodes
}

// Of linux/inet_diag.h and net/tcp_states.h.
const (
	diagRequestLen = 56
	diagMessageLen = 72
	stateClose     = 7 // UDP sockets without a peer
	stateListen    = 10
)

// diagRequest asks for the sockets of a family and protocol in one state: a busy host has tens of thousands in others.
type diagRequest struct{ family, proto, state uint8 }

func (r diagRequest) Len() int { return diagRequestLen }

func (r diagRequest) Serialize() []byte {
	b := make([]byte, diagRequestLen)
	b[0], b[1] = r.family, r.proto
	binary.NativeEndian.PutUint32(b[4:], 1<<r.state)
	return b
}

// listen adds the listening sockets of one family and protocol.
func listen(family uint8, proto cluster.Proto, into map[cluster.Listener]uint32) error {
	request := diagRequest{family, unix.IPPROTO_TCP, stateListen}
	if proto == cluster.UDP {
		request = diagRequest{family, unix.IPPROTO_UDP, stateClose}
	}
	r := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, unix.NLM_F_DUMP)
	r.AddData(request)
	messages, err := r.Execute(unix.NETLINK_INET_DIAG, 0)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if e, inode, ok := diagnose(m, proto); ok {
			if _, taken := into[e]; !taken { // of several on one port (SO_REUSEPORT) the first
				into[e] = inode
			}
		}
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
