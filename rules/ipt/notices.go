package ipt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/rules"
)

// noticeBuffer is how many bytes of notices may wait to be read: one load of a thousand services makes megabytes.
const noticeBuffer = 16 << 20

// watchNotices reads what nf_tables tells, and passes on what touches our chains or the chains that lead to them.
func (d *Driver) watchNotices(ctx context.Context, changed func(rules.Foreign)) error {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: d.netns})
	if err != nil {
		return fmt.Errorf("watch nf_tables: %w", err)
	}
	defer conn.Close()
	_ = conn.SetReadBuffer(noticeBuffer) // a smaller buffer loses notices sooner, and that is noticed
	if err := conn.JoinGroup(unix.NFNLGRP_NFTABLES); err != nil {
		return fmt.Errorf("watch nf_tables: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var pending string
	for {
		messages, err := conn.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			changed(rules.Foreign{What: "notices were lost"})
			continue
		case err != nil:
			return fmt.Errorf("watch nf_tables: %w", err)
		}
		for _, m := range messages {
			if what := noticeOf(m); what != "" {
				pending = what
			}
			// The notice of a transaction's generation comes last, and says whose it was.
			if pid, name, last := authorOf(m); last {
				if pending != "" && !d.isOwn(pid) {
					changed(rules.Foreign{What: pending, Who: fmt.Sprintf("%s (pid %d)", name, pid)})
				}
				pending = ""
			}
		}
	}
}

func (d *Driver) isOwn(pid int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.pids, pid)
}

func kind(m netlink.Message) int {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < 4 {
		return -1
	}
	return int(m.Header.Type & 0xff)
}

// noticeOf says what happened to our chains or to those that lead to them, or "".
func noticeOf(m netlink.Message) string {
	chainAttribute, what := uint16(0), ""
	switch kind(m) {
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
	table := attribute(m, 1) // of every kind of notice
	if i < 0 || !slices.Contains(tables, table) {
		return ""
	}
	where := fmt.Sprintf("%s table %s", families[i].program, table)
	if chainAttribute != 0 {
		name := attribute(m, chainAttribute)
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

// authorOf is the process that committed a generation, if that is what the message tells.
func authorOf(m netlink.Message) (pid int, name string, last bool) {
	if kind(m) != unix.NFT_MSG_NEWGEN {
		return 0, "", false
	}
	if number := attribute(m, unix.NFTA_GEN_PROC_PID); len(number) == 4 {
		pid = int(binary.BigEndian.Uint32([]byte(number)))
	}
	return pid, strings.TrimRight(attribute(m, unix.NFTA_GEN_PROC_NAME), "\x00"), true
}

func attribute(m netlink.Message, number uint16) string {
	ad, err := netlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return ""
	}
	for ad.Next() {
		if ad.Type() == number {
			if kind(m) == unix.NFT_MSG_NEWGEN {
				return string(ad.Bytes())
			}
			return string(bytes.TrimRight(ad.Bytes(), "\x00"))
		}
	}
	return ""
}
