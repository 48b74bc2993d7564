package sample

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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
		err := listening(proto, func(e cluster.Listener, inode uint32) {
			if _, taken := sockets[e]; !taken { // of several on one port (SO_REUSEPORT) the first
				sockets[e] = inode
			}
		})
		if err != nil {
			return nil, err
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
	link, err := os.Readlink(l.proc + "/" + strconv.Itoa(h.pid) + "/fd/" + strconv.Itoa(h.fd))
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
