package conntrack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// eventBuffer holds the news of some thousand connections.
const eventBuffer = 4 << 20

// Events says which new connections to tell of.
type Events struct {
	To     netip.Addr        // only those that clients send there
	Ready  func()            // called when it has begun; may be nil
	Missed func(what string) // called when news were lost; may be nil
}

// Watch tells of each connection that the kernel begins to track, until the context ends; then it returns nil. The kernel
// itself leaves out what goes to other addresses. A connection that is refused is never tracked.
func Watch(ctx context.Context, o Events, seen func(Entry)) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("listen for new connections: %w", err)
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(eventBuffer) // a smaller one loses news sooner, and that is told
	if err = filter(conn, o.To); err == nil {
		err = conn.JoinGroup(unix.NFNLGRP_CONNTRACK_NEW)
	}
	if err != nil {
		return fmt.Errorf("listen for new connections: %w", err)
	}
	if o.Ready != nil {
		o.Ready()
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			if o.Missed != nil {
				o.Missed("the kernel's news came faster than they could be read: some connections are missing")
			}
		case err != nil:
			return fmt.Errorf("listen for new connections: %w", err)
		}
		for _, m := range messages {
			e, err := Parse(m.Data)
			if err != nil {
				return err
			}
			if e.To.Addr() == o.To {
				seen(e)
			}
		}
	}
}

// filter has the kernel drop the news of other destinations, so that a busy node costs nothing here. The original
// direction comes first in every message: behind the headers of netlink (16 bytes) and nfnetlink (4), of the tuple and of
// its addresses (4 each), the source with its header, and the header of the destination (4).
func filter(conn *netlink.Conn, to netip.Addr) error {
	const load, equal, give = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	address := to.AsSlice()
	at, words := uint32(16+4+4+4+4+len(address)+4), len(address)/4
	var program []unix.SockFilter
	for i := range words {
		word := binary.BigEndian.Uint32(address[4*i:])
		program = append(program,
			unix.SockFilter{Code: load, K: at + uint32(4*i)},
			unix.SockFilter{Code: equal, K: word, Jf: uint8(2*(words-i) - 1)})
	}
	program = append(program, unix.SockFilter{Code: give, K: 1 << 18}, unix.SockFilter{Code: give})
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	attach := func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	}
	return errors.Join(raw.Control(attach), err)
}
