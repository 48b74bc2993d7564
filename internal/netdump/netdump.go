// Package netdump asks the kernel for long lists by netlink: tracked connections, sockets.
//
// The netlink library copies every message into memory of its own and makes a large buffer for each list; a load monitor lists
// several times a second.
package netdump

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// patience is how long the kernel may take for the next piece of a list: it is there at once, or something is wrong.
const patience = 10 // seconds

// pieces are at most 32 KiB of a list each.
var pieces = sync.Pool{New: func() any { return new([64 << 10]byte) }}

var (
	order        = binary.NativeEndian
	errMalformed = errors.New("malformed netlink message")
)

// Each asks a subsystem for a list, in the network namespace of the calling thread, and hands over each message of it, without
// the header. A message is valid until each returns; an error of each ends the list.
func Each(subsystem int, kind uint16, request []byte, each func(message []byte) error) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, subsystem)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience}); err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	text := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(request))
	order.PutUint32(text, uint32(cap(text)))
	order.PutUint16(text[4:], kind)
	order.PutUint16(text[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	order.PutUint32(text[8:], 1) // the sequence number: this socket asks once
	if err := unix.Sendto(fd, append(text, request...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("ask for a list: %w", err)
	}
	piece := pieces.Get().(*[64 << 10]byte)
	defer pieces.Put(piece)
	for {
		n, err := unix.Read(fd, piece[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("read a list: %w", err)
		}
		if done, err := take(piece[:n], each); done || err != nil {
			return err
		}
	}
}

// take hands over the messages of one piece, and says whether the list is over.
func take(piece []byte, each func([]byte) error) (done bool, err error) {
	for len(piece) > 0 {
		if len(piece) < unix.SizeofNlMsghdr {
			return true, errMalformed
		}
		length := int(order.Uint32(piece))
		if length < unix.SizeofNlMsghdr || length > len(piece) {
			return true, errMalformed
		}
		message := piece[unix.SizeofNlMsghdr:length]
		switch order.Uint16(piece[4:]) {
		case unix.NLMSG_DONE, unix.NLMSG_ERROR:
			return true, verdict(message)
		case unix.NLMSG_NOOP, unix.NLMSG_OVERRUN:
		default:
			if err := each(message); err != nil {
				return true, err
			}
		}
		piece = piece[min((length+unix.NLMSG_ALIGNTO-1)&^(unix.NLMSG_ALIGNTO-1), len(piece)):]
	}
	return false, nil
}

// verdict is how a list ended: with 0, or an error number below it.
func verdict(message []byte) error {
	if len(message) < 4 {
		return nil
	}
	if code := int32(order.Uint32(message)); code != 0 {
		return fmt.Errorf("the kernel ends the list: %w", unix.Errno(-code))
	}
	return nil
}
