package sample

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
)

// Listeners finds the processes that listen in this network namespace. One goroutine uses it.
type Listeners struct {
	proc    string
	holders map[uint32]holder // of the sockets found last, by inode: /proc is searched only for those that are new
	missed  map[uint32]int    // sockets of which no process was found: how often Find is called until they are looked for again
}

// holder is a process that has a socket open, and where.
type holder struct{ pid, fd int }

// patience is how many times a socket without a process is left alone. It may belong to another process namespace, or to a
// process that we may not look into; a search of all of /proc for it each time would be most of what a sample costs.
const patience = 12

// NewListeners begins without a memory.
func NewListeners() *Listeners {
	return &Listeners{proc: "/proc", holders: map[uint32]holder{}, missed: map[uint32]int{}}
}

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
		if h, ok := l.holders[inode]; ok {
			out[e] = h.pid
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
	kept, missed, search := map[uint32]holder{}, map[uint32]int{}, false
	for inode := range inodes {
		h, known := l.holders[inode]
		if known && l.socket(h) == inode {
			kept[inode] = h
		} else if left := l.missed[inode]; left > 0 && !known {
			missed[inode] = left - 1
		} else {
			search = true
		}
	}
	if l.holders, l.missed = kept, missed; !search {
		return
	}
	entries, _ := os.ReadDir(l.proc) // what cannot be read is not found
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			l.search(pid, inodes)
		}
	}
	for inode := range inodes {
		if _, found := l.holders[inode]; found {
			delete(l.missed, inode)
		} else if l.missed[inode] == 0 {
			l.missed[inode] = patience
		}
	}
}

// search looks for sockets among the files of a process. One that ends meanwhile has none.
func (l *Listeners) search(pid int, inodes map[uint32]bool) {
	dir, err := os.Open(filepath.Join(l.proc, strconv.Itoa(pid), "fd"))
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		inode := l.socket(holder{pid, fd})
		if known, ok := l.holders[inode]; inodes[inode] && (!ok || pid < known.pid) {
			l.holders[inode] = holder{pid, fd}
		}
	}
}

// socket is the inode of an open socket; 0: it is none.
func (l *Listeners) socket(h holder) uint32 {
	link, err := os.Readlink(filepath.Join(l.proc, strconv.Itoa(h.pid), "fd", strconv.Itoa(h.fd)))
	if err != nil {
		return 0
	}
	text, ok := strings.CutPrefix(link, "socket:[")
	inode, err := strconv.ParseUint(strings.TrimSuffix(text, "]"), 10, 32)
	if !ok || err != nil {
		return 0
	}
	return uint32(inode)
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
