package conntrack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Structures of linux/inet_diag.h: struct inet_diag_req_v2 is 8 bytes and an inet_diag_sockid; struct inet_diag_msg is 4
// bytes and an inet_diag_sockid, and more.
const (
	sockIDLen  = 48
	diagReqLen = 8 + sockIDLen
	diagMsgLen = 4 + sockIDLen + 20

	established = 1
	listening   = 10
)

// ErrNoReset says that the kernel cannot end other processes' sockets.
var ErrNoReset = errors.New("the kernel cannot end sockets (CONFIG_INET_DIAG_DESTROY)")

// Reset ends the TCP socket of a process in this network namespace: the process is told that the connection was aborted,
// and the other end gets a reset. It is no error when there is no such socket; then found is false.
//
// The kernel's own search for a socket falls back to listeners, and one that listens on all addresses fits any client
// that happens to have its port. So we look first, and name the socket that we mean.
func Reset(local, remote netip.AddrPort) (found bool, err error) {
	req := diagRequest{local: local, remote: remote, cookie: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}
	get := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, 0)
	get.AddData(req)
	messages, err := get.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for the socket %s -> %s: %w", local, remote, err)
	case len(messages) == 0 || !req.is(messages[0]):
		return false, nil
	}
	copy(req.cookie[:], messages[0][4+sockIDLen-8:])
	destroy := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	destroy.AddData(req)
	_, err = destroy.Execute(unix.NETLINK_INET_DIAG, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return false, ErrNoReset
	case err != nil:
		return false, fmt.Errorf("end the socket %s -> %s: %w", local, remote, err)
	}
	return true, nil
}

// diagRequest asks for one TCP socket.
type diagRequest struct {
	local, remote netip.AddrPort
	cookie        [8]byte
}

// Len and Serialize make it data of a netlink request.
func (r diagRequest) Len() int { return diagReqLen }

// Serialize is struct inet_diag_req_v2.
func (r diagRequest) Serialize() []byte {
	out := make([]byte, 0, diagReqLen)
	out = append(out, Family(r.local.Addr()), unix.IPPROTO_TCP, 0, 0)
	out = binary.NativeEndian.AppendUint32(out, 0xffffffff) // any state
	return append(out, r.id()...)
}

// id is struct inet_diag_sockid.
func (r diagRequest) id() []byte {
	out := make([]byte, sockIDLen)
	binary.BigEndian.PutUint16(out[0:], r.local.Port())
	binary.BigEndian.PutUint16(out[2:], r.remote.Port())
	copy(out[4:20], r.local.Addr().AsSlice())
	copy(out[20:36], r.remote.Addr().AsSlice())
	copy(out[40:], r.cookie[:]) // behind the interface, which is any
	return out
}

// is says whether an answer is the connection that was asked for, and no listener.
func (r diagRequest) is(message []byte) bool {
	if len(message) < diagMsgLen {
		return false
	}
	state, id := message[1], message[4:4+sockIDLen]
	return state >= established && state != listening && string(id[:36]) == string(r.id()[:36])
}
