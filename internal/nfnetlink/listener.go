// Package nfnetlink hears what the kernel's netfilter tells: of changes to rules, of packets, of connections.
package nfnetlink

import (
	"context"
	"errors"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Listener is one who hears.
type Listener struct {
	NetNS  int                       // file descriptor of a network namespace; 0: that of the calling thread
	Buffer int                       // bytes of messages that may wait; of a flood of more some are lost
	Begin  func(*netlink.Conn) error // joins a group, or asks for what is to be heard
	Lost   func()                    // is called when messages came faster than they were taken
}

// Listen hands over each message until the context ends; then it returns nil. It returns the first error of whoever takes
// them. When it returns, the socket is closed.
func (l Listener) Listen(ctx context.Context, heard func(netlink.Message) error) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: l.NetNS})
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(l.Buffer) // a smaller one loses messages sooner, and that is told
	if err := l.Begin(conn); err != nil {
		return err
	}
	// Closed by another goroutine, the socket would still be open for a moment after the return.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			l.Lost()
		case err != nil:
			return err
		}
		for _, m := range messages {
			if err := heard(m); err != nil {
				return err
			}
		}
	}
}

// Group joins a group of those that netfilter tells.
func Group(number uint32) func(*netlink.Conn) error {
	return func(conn *netlink.Conn) error { return conn.JoinGroup(number) }
}
