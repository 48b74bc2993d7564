package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/nfnetlink"
)

// eventBuffer holds the news of some thousand connections.
const eventBuffer = 4 << 20

// Events says which connections to tell of, and what else.
type Events struct {
	To     netip.Addr        // of Watch: only those that clients send there
	Ready  func()            // called when it has begun; may be nil
	Missed func(what string) // called when news were lost; may be nil
}

// Watch tells of each connection that the kernel begins to track, until the context ends; then it returns nil. The kernel
// itself leaves out what goes to other addresses.
func Watch(ctx context.Context, o Events, seen func(Entry)) error {
	err := o.hear(ctx, unix.NFNLGRP_CONNTRACK_NEW, sentTo(o.To), func(e Entry) {
		if e.To.Addr() == o.To {
			seen(e)
		}
	})
	if err != nil {
		return fmt.Errorf("listen for new connections: %w", err)
	}
	return nil
}

// WatchRefused tells of each TCP connection that was answered by a reset alone, until the context ends; then it returns nil.
// Their entries are gone before anybody could list them: the kernel deletes them with the refusal, and that is when it tells.
// Older kernels do not tell the state of what they delete, and show none.
func WatchRefused(ctx context.Context, o Events, seen func(Entry)) error {
	err := o.hear(ctx, unix.NFNLGRP_CONNTRACK_DESTROY, unreplied(), func(e Entry) {
		if e.Refused() {
			seen(e)
		}
	})
	if err != nil {
		return fmt.Errorf("listen for refused connections: %w", err)
	}
	return nil
}

// hear hands over the news of one group that pass a filter in the kernel.
func (o Events) hear(ctx context.Context, group uint32, filter []unix.SockFilter, seen func(Entry)) error {
	begin := func(conn *netlink.Conn) error {
		if err := attach(conn, filter); err != nil {
			return err
		}
		if err := conn.JoinGroup(group); err != nil {
			return err
		}
		if o.Ready != nil {
			o.Ready()
		}
		return nil
	}
	lost := func() {
		if o.Missed != nil {
			o.Missed("the kernel's news came faster than they could be read: some connections are missing")
		}
	}
	kernel := nfnetlink.Listener{Buffer: eventBuffer, Begin: begin, Lost: lost}
	return kernel.Listen(ctx, func(m netlink.Message) error {
		e, err := Parse(m.Data)
		if err == nil {
			seen(e)
		}
		return err
	})
}

const (
	load = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	give = unix.BPF_RET | unix.BPF_K
	most = 1 << 18 // bytes of a message that is let through
)

// sentTo has the kernel drop the news of other destinations, so that a busy node costs nothing here. The original
// direction comes first in every message: behind the headers of netlink (16 bytes) and nfnetlink (4), of the tuple and of
// its addresses (4 each), the source with its header, and the header of the destination (4).
func sentTo(to netip.Addr) (program []unix.SockFilter) {
	const equal = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	address := to.AsSlice()
	at, words := uint32(16+4+4+4+4+len(address)+4), len(address)/4
	for i := range words {
		word := binary.BigEndian.Uint32(address[4*i:])
		program = append(program,
			unix.SockFilter{Code: load, K: at + uint32(4*i)},
			unix.SockFilter{Code: equal, K: word, Jf: uint8(2*(words-i) - 1)})
	}
	return append(program, unix.SockFilter{Code: give, K: most}, unix.SockFilter{Code: give})
}

// unreplied has the kernel drop the news of connections that were answered: nearly all. It looks for the attribute of the
// status, whose place depends on what comes before it.
func unreplied() []unix.SockFilter {
	const first = 16 + 4             // behind the headers of netlink and nfnetlink
	const find = 1<<32 - 0x1000 + 12 // SKF_AD_OFF + SKF_AD_NLATTR: from A on, the attribute of the kind X; 0: there is none
	return []unix.SockFilter{
		{Code: unix.BPF_LDX | unix.BPF_W | unix.BPF_IMM, K: ctaStatus},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_IMM, K: first},
		{Code: load, K: find},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: 0, Jt: 3},
		{Code: unix.BPF_MISC | unix.BPF_TAX},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_IND, K: attrLen},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: statusSeenReply, Jf: 1},
		{Code: give},
		{Code: give, K: most},
	}
}

func attach(conn *netlink.Conn, program []unix.SockFilter) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	set := func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	}
	return errors.Join(raw.Control(set), err)
}
