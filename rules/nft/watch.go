package nft

import (
	"context"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/nfnetlink"
	"github.com/weir-lb/weir/rules"
)

// noticeBuffer holds some 50,000 notices: a foreign load of a large ruleset should not make us read all of ours.
const noticeBuffer = 16 << 20

// Watch tells of changes to our tables by anybody else. When notices were lost it says so: then anything may have changed.
//
// The notices are read here and not through the nftables library because it drops the table's name from element notices:
// every element that another program touches would look like one of ours.
func (d *Driver) Watch(ctx context.Context, changed func(rules.Foreign)) error {
	notices := notices{ours: d.portID}
	kernel := nfnetlink.Listener{
		NetNS: d.netns, Buffer: d.buffer, Begin: nfnetlink.Group(unix.NFNLGRP_NFTABLES),
		Lost: func() { changed(rules.Foreign{What: "notices were lost", Lost: true}) },
	}
	err := kernel.Listen(ctx, func(m netlink.Message) error {
		if foreign, told := notices.add(m); told {
			changed(foreign)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("watch nf_tables: %w", classify(err))
	}
	return nil
}

// notices gathers what one transaction did to our tables. The notice of its generation comes last, and says whose it was.
type notices struct {
	ours    uint32
	pending []string
}

func (n *notices) add(m netlink.Message) (foreign rules.Foreign, told bool) {
	what := noticeOf(m)
	pid, name, generation := nfnetlink.Author(m)
	switch {
	case m.Header.PID == n.ours:
		n.pending = nil // left over where notices were lost, which was told
	case what != "" && (len(n.pending) == 0 || n.pending[len(n.pending)-1] != what):
		n.pending = append(n.pending, what)
	case generation && len(n.pending) > 0:
		foreign, told = rules.Foreign{What: summary(n.pending), Who: author(pid, name)}, true
		n.pending = nil
	}
	return foreign, told
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
	what, ok := noticeKinds[nfnetlink.Kind(m)]
	if !ok {
		return ""
	}
	for _, f := range families {
		if byte(f.table) == m.Data[0] && nfnetlink.Name(m, 1) == tableName {
			return fmt.Sprintf("table %s %s: %s", f.name, tableName, what)
		}
	}
	return ""
}

// author is a process as people are told of it.
func author(pid int, name string) string {
	if pid == 0 {
		return ""
	}
	return fmt.Sprintf("%s (pid %d)", name, pid)
}

func summary(what []string) string {
	if len(what) == 1 {
		return what[0]
	}
	return fmt.Sprintf("%s and %d more changes", what[0], len(what)-1)
}
