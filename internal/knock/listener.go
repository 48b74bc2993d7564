package knock

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/nfnetlink"
)

// Listener hears of packets that rules log to a group.
type Listener struct {
	Group   uint16 // of NFLOG
	Snaplen uint32 // bytes of each packet that are wanted
	NetNS   int    // file descriptor of a network namespace; 0: that of the calling thread
}

// buffer is how many bytes of messages may wait: some thousand. A flood of more loses some, and is told.
const buffer = 2 << 20

// Of linux/netfilter/nfnetlink_log.h.
const (
	subsystem     = unix.NFNL_SUBSYS_ULOG << 8
	packetMessage = subsystem
	configMessage = subsystem | 1

	configCommand   = 1 // struct nfulnl_msg_config_cmd
	configMode      = 2 // struct nfulnl_msg_config_mode
	configThreshold = 5 // how many packets make one message

	bindCommand = 1
	copyPacket  = 2

	payloadAttribute = 9
)

// Listen calls heard with where each packet was sent, until the context ends; then it returns nil. It calls ready once the
// kernel has accepted it, and lost when messages came faster than they were read.
func (l Listener) Listen(ctx context.Context, ready func(), heard func(cluster.Frontend), lost func()) error {
	bind := func(conn *netlink.Conn) error {
		_, err := conn.Send(l.bind())
		return err
	}
	kernel := nfnetlink.Listener{NetNS: l.NetNS, Buffer: buffer, Begin: bind, Lost: lost}
	return l.explain(kernel.Listen(ctx, func(m netlink.Message) error {
		switch m.Header.Type {
		case netlink.Error: // an error without a number is the kernel's yes
			ready()
		case packetMessage:
			if f, ok := frontendOf(m.Data); ok {
				heard(f)
			}
		}
		return nil
	}))
}

// bind asks for the packets of the group, each at once. It is one message, since packets come as soon as the group is ours.
func (l Listener) bind() netlink.Message {
	mode := append(binary.BigEndian.AppendUint32(nil, l.Snaplen), copyPacket, 0)
	attributes, _ := netlink.MarshalAttributes([]netlink.Attribute{ // it fails for attributes beyond 64 KiB only
		{Type: configCommand, Data: []byte{bindCommand}},
		{Type: configMode, Data: mode},
		{Type: configThreshold, Data: binary.BigEndian.AppendUint32(nil, 1)},
	})
	header := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, l.Group)
	return netlink.Message{
		Header: netlink.Header{Type: configMessage, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(header, attributes...),
	}
}

func (l Listener) explain(err error) error {
	why := ""
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EBUSY), errors.Is(err, unix.EEXIST):
		why = "another program listens to it, or this process lacks CAP_NET_ADMIN: "
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		why = "the kernel has no nfnetlink_log: "
	}
	return fmt.Errorf("listen to log group %d: %s%w", l.Group, why, err)
}

// frontendOf reads a packet message behind its netlink header: struct nfgenmsg and attributes.
func frontendOf(data []byte) (f cluster.Frontend, ok bool) {
	if len(data) < 4 {
		return f, false
	}
	ad, err := netlink.NewAttributeDecoder(data[4:])
	if err != nil {
		return f, false
	}
	for ad.Next() {
		if ad.Type() == payloadAttribute {
			f, ok = destination(ad.Bytes())
		}
	}
	return f, ok && ad.Err() == nil
}
