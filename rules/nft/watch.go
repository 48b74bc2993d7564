package nft

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/rules"
)

// noticeBuffer holds some 50,000 notices: a foreign load of a large ruleset should not make us read all of ours.
const noticeBuffer = 16 << 20

// Watch tells of changes to our tables by anybody else. When notices were lost it says so: then anything may have changed.
//
// The notices are read here and not through the nftables library because it drops the table's name from element notices:
// every element that another program touches would look like one of ours.
func (d *Driver) Watch(ctx context.Context, changed func(rules.Foreign)) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: d.netns})
	if err != nil {
		return fmt.Errorf("watch nf_tables: %w", classify(err))
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(d.buffer) // a smaller buffer loses notices sooner, and that is noticed
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("watch nf_tables: %w", classify(err))
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	notices := notices{ours: d.portID}
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			changed(rules.Foreign{What: "notices were lost", Lost: true})
			continue
		case err != nil:
			return fmt.Errorf("watch nf_tables: %w", err)
		}
		for _, m := range messages {
			if foreign, told := notices.add(m); told {
				changed(foreign)
			}
		}
	}
}

// notices gathers what one transaction did to our tables. The notice of its generation comes last, and says whose it was.
type notices struct {
	ours    uint32
	pending []string
}

func (n *notices) add(m netlink.Message) (foreign rules.Foreign, told bool) {
	what, generation := noticeOf(m), kind(m) == unix.NFT_MSG_NEWGEN
	switch {
	case m.Header.PID == n.ours:
		n.pending = nil // left over where notices were lost, which was told
	case what != "" && (len(n.pending) == 0 || n.pending[len(n.pending)-1] != what):
		n.pending = append(n.pending, what)
	case generation && len(n.pending) > 0:
		foreign, told = rules.Foreign{What: summary(n.pending), Who: authorOf(m)}, true
		n.pending = nil
	}
	return foreign, told
}

func kind(m netlink.Message) int {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return -1
	}
	return int(m.Header.Type & 0xff)
}

var noticeKinds = map[int]string{
	unix.NFT_MSG_NEWTABLE: "table made", unix.NFT_MSG_DELTABLE: "table deleted",
	unix.NFT_MSG_NEWCHAIN: "chain made", unix.NFT_MSG_DELCHAIN: "chain deleted",
	unix.NFT_MSG_NEWRULE: "rule made", unix.NFT_MSG_DELRULE: "rule deleted",
	unix.NFT_MSG_NEWSET: "set made", unix.NFT_MSG_DELSET: "set deleted",
	unix.NFT_MSG_NEWSETELEM: "element made", unix.NFT_MSG_DELSETELEM: "element deleted",
	unix.NFT_MSG_NEWOBJ: "object made", unix.NFT_MSG_DELOBJ: "object deleted",
}

// noticeOf says what happened to one of our tables, or "". The table's name is attribute 1 of every kind of notice.
func noticeOf(m netlink.Message) string {
	what, ok := noticeKinds[kind(m)]
	if !ok || len(m.Data) == 0 {
		return ""
	}
	for _, f := range families {
		if byte(f.table) == m.Data[0] && attribute(m, 1) == tableName {
			return fmt.Sprintf("table %s %s: %s", f.name, tableName, what)
		}
	}
	return ""
}

// authorOf is the process that committed a generation, as the kernel tells.
func authorOf(m netlink.Message) string {
	pid := attribute(m, unix.NFTA_GEN_PROC_PID)
	if len(pid) != 4 {
		return ""
	}
	return fmt.Sprintf("%s (pid %d)", attribute(m, unix.NFTA_GEN_PROC_NAME), binary.BigEndian.Uint32([]byte(pid)))
}

func attribute(m netlink.Message, number uint16) string {
	if len(m.Data) < 4 { // the head that is common to all notices
		return ""
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return ""
	}
	for ad.Next() {
		if ad.Type() == number {
			if number == unix.NFTA_GEN_PROC_PID && kind(m) == unix.NFT_MSG_NEWGEN {
				return string(ad.Bytes())
			}
			return string(bytes.TrimRight(ad.Bytes(), "\x00"))
		}
	}
	return ""
}

func summary(what []string) string {
	if len(what) == 1 {
		return what[0]
	}
	return fmt.Sprintf("%s and %d more changes", what[0], len(what)-1)
}
