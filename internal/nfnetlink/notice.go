package nfnetlink

import (
	"bytes"
	"encoding/binary"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// head is how many bytes come before the attributes of a message: struct nfgenmsg. The first is the family.
const head = 4

// Kind is what a message of nf_tables tells: unix.NFT_MSG_NEWTABLE and so on. -1: it is none.
func Kind(m netlink.Message) int {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < head {
		return -1
	}
	return int(m.Header.Type & 0xff)
}

// Name is an attribute that is a text; "": the message has none.
func Name(m netlink.Message, number uint16) string {
	return string(bytes.TrimRight(attribute(m, number), "\x00"))
}

// Author says who committed a transaction, if that is what a message tells: the notice of its generation, which comes last.
// Pid 0: the kernel does not say.
func Author(m netlink.Message) (pid int, name string, last bool) {
	if Kind(m) != unix.NFT_MSG_NEWGEN {
		return 0, "", false
	}
	if number := attribute(m, unix.NFTA_GEN_PROC_PID); len(number) == 4 {
		pid = int(binary.BigEndian.Uint32(number))
	}
	return pid, Name(m, unix.NFTA_GEN_PROC_NAME), true
}

func attribute(m netlink.Message, number uint16) []byte {
	if len(m.Data) < head {
		return nil
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[head:])
	if err != nil {
		return nil
	}
	for ad.Next() {
		if ad.Type() == number {
			return ad.Bytes()
		}
	}
	return nil
}
