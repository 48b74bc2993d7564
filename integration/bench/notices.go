package main

import (
	"context"
	"encoding/binary"
	"net/netip"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/lab"
)

// notices listens to what the kernel of each node says about its nftables, and tells when an element with a given target
// has been written on all of them. The kernel says so at the end of the transaction, so the time is that of the rule in
// force plus the way to this process.
type notices struct {
	nodes int

	mu      sync.Mutex
	awaited map[netip.AddrPort]*arrival
}

// arrival is when a target reached each node.
type arrival struct {
	at   map[int]time.Time
	done chan time.Time // the time on the slowest node
}

// listen begins with the namespaces' notices, until the trial ends.
func listen(t *trial, hosts []*lab.Host) *notices {
	n := &notices{nodes: len(hosts), awaited: map[netip.AddrPort]*arrival{}}
	ctx, stop := context.WithCancel(t.ctx)
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() })
	for i, host := range hosts {
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: int(host.Netns())})
		t.must(err)
		t.must(conn.SetReadBuffer(16 << 20))
		t.must(conn.JoinGroup(unix.NFNLGRP_NFTABLES))
		context.AfterFunc(ctx, func() { conn.Close() })
		running.Go(func() {
			for {
				messages, err := conn.Receive()
				if err != nil {
					return // closed, or notices were lost: then what is awaited does not come, and that is told
				}
				n.take(i, time.Now(), messages)
			}
		})
	}
	return n
}

// expect must be called before the change is made.
func (n *notices) expect(target netip.AddrPort) <-chan time.Time {
	a := &arrival{at: map[int]time.Time{}, done: make(chan time.Time, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.awaited[target] = a
	return a.done
}

func (n *notices) take(node int, now time.Time, messages []netlink.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range messages {
		if m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWSETELEM || len(m.Data) < 4 {
			continue
		}
		for _, target := range targetsOf(m.Data[4:]) {
			a := n.awaited[target]
			if a == nil {
				continue
			}
			if _, again := a.at[node]; again {
				continue
			}
			if a.at[node] = now; len(a.at) == n.nodes {
				delete(n.awaited, target)
				a.done <- now
			}
		}
	}
}

// targetsOf are the addresses and ports that the elements of a notice lead to; elements of other sets have none.
func targetsOf(notice []byte) (out []netip.AddrPort) {
	walk(notice, unix.NFTA_SET_ELEM_LIST_ELEMENTS, func(list []byte) {
		walk(list, unix.NFTA_LIST_ELEM, func(element []byte) {
			walk(element, unix.NFTA_SET_ELEM_DATA, func(data []byte) {
				walk(data, unix.NFTA_DATA_VALUE, func(value []byte) {
					if len(value) == 8 {
						out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte(value)), binary.BigEndian.Uint16(value[4:])))
					}
				})
			})
		})
	})
	return out
}

// walk calls found with each attribute of a kind.
func walk(attributes []byte, kind uint16, found func([]byte)) {
	ad, err := netlink.NewAttributeDecoder(attributes)
	if err != nil {
		return
	}
	for ad.Next() {
		if ad.Type() == kind {
			found(ad.Bytes())
		}
	}
}
