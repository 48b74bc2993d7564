package ipt

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/nfnetlink"
	"github.com/weir-lb/weir/rules"
)

// noticeBuffer is how many bytes of notices may wait to be read: one load of a thousand services makes megabytes.
const noticeBuffer = 16 << 20

// watchNotices reads what nf_tables tells, and passes on what touches our chains or the chains that lead to them.
func (d *Driver) watchNotices(ctx context.Context, changed func(rules.Foreign)) error {
	var pending string
	kernel := nfnetlink.Listener{
		NetNS: d.netns, Buffer: d.buffer, Begin: nfnetlink.Group(unix.NFNLGRP_NFTABLES),
		Lost: func() { changed(rules.Foreign{What: "notices were lost", Lost: true}) },
	}
	err := kernel.Listen(ctx, func(m netlink.Message) error {
		if what := noticeOf(m); what != "" {
			pending = what
		}
		// The notice of a transaction's generation comes last, and says whose it was.
		if pid, name, last := nfnetlink.Author(m); last {
			if pending != "" && !d.isOwn(pid) {
				changed(rules.Foreign{What: pending, Who: fmt.Sprintf("%s (pid %d)", name, pid)})
			}
			pending = ""
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("watch nf_tables: %w", err)
	}
	return nil
}

func (d *Driver) isOwn(pid int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.pids, pid)
}

// noticeOf says what happened to our chains or to those that lead to them, or "".
func noticeOf(m netlink.Message) string {
	chainAttribute, what := uint16(0), ""
	switch nfnetlink.Kind(m) {
	case unix.NFT_MSG_DELTABLE:
		what = "table deleted"
	case unix.NFT_MSG_NEWCHAIN:
		chainAttribute, what = unix.NFTA_CHAIN_NAME, "chain made"
	case unix.NFT_MSG_DELCHAIN:
		chainAttribute, what = unix.NFTA_CHAIN_NAME, "chain deleted"
	case unix.NFT_MSG_NEWRULE:
		chainAttribute, what = unix.NFTA_RULE_CHAIN, "rule made"
	case unix.NFT_MSG_DELRULE:
		chainAttribute, what = unix.NFTA_RULE_CHAIN, "rule deleted"
	default:
		return ""
	}
	i := slices.IndexFunc(families[:], func(f *family) bool { return f.netfilter() == m.Data[0] })
	table := nfnetlink.Name(m, 1) // of every kind of notice
	if i < 0 || !slices.Contains(tables, table) {
		return ""
	}
	where := fmt.Sprintf("%s table %s", families[i].program, table)
	if chainAttribute != 0 {
		name := nfnetlink.Name(m, chainAttribute)
		if !strings.HasPrefix(name, ours) && !builtin(table, name) {
			return ""
		}
		where += " chain " + name
	}
	return where + ": " + what
}

// netfilter is the number of the family in messages.
func (f *family) netfilter() byte {
	if f == families[0] {
		return unix.NFPROTO_IPV4
	}
	return unix.NFPROTO_IPV6
}
