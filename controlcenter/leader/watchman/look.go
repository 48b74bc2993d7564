package watchman

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weir-lb/weir/cluster"
)

const (
	knocks   = 16              // addresses of one look: of many, others each time
	lookTime = 2 * time.Second // of one looker, which itself waits a second for connections
)

// Looker has one node connect to addresses of instances, and says which answered. It leaves out what that node does not know.
type Looker interface {
	Look(ctx context.Context, node string, n *cluster.Node, addresses []netip.AddrPort) (map[netip.AddrPort]bool, error)
}

// some picks the addresses of one look.
func some(all []netip.AddrPort, number int) []netip.AddrPort {
	if len(all) <= knocks {
		return all
	}
	begin := number * knocks % len(all)
	return append(slices.Clone(all[begin:]), all[:begin]...)[:knocks]
}

// look carries out one Look. It ends when one looker was answered, enough of them were not, or none is left to ask.
func (w *Watchman) look(ctx context.Context, l Look, s *cluster.Snapshot, addresses []netip.AddrPort) Looked {
	out := Looked{Node: l.Node, Number: l.Number}
	if len(addresses) == 0 {
		out.Why = "none of its instances has a TCP port at which other nodes could knock"
		return out
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	next := 0
	take := func() (looker string, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if ok = next < len(l.Lookers) && ctx.Err() == nil; ok {
			looker, next = l.Lookers[next], next+1
		}
		return looker, ok
	}
	tell := func(looker string, answered []netip.AddrPort) {
		mu.Lock()
		defer mu.Unlock()
		if len(answered) == 0 {
			out.Silent = append(out.Silent, looker)
			return
		}
		out.Answered = fmt.Sprintf("%s answers %s", answered[0], looker)
		cancel()
	}
	var asking sync.WaitGroup
	for range l.Need {
		asking.Go(func() {
			for looker, ok := take(); ok; looker, ok = take() {
				answered, err := w.ask(ctx, looker, s, addresses)
				if err == nil {
					tell(looker, answered)
					return
				}
				w.log.Debug("cannot look", "node", l.Node, "by", looker, "err", err)
			}
		})
	}
	asking.Wait()
	slices.Sort(out.Silent)
	return out
}

// ask has one looker knock, and returns what answered, sorted.
func (w *Watchman) ask(ctx context.Context, looker string, s *cluster.Snapshot, addresses []netip.AddrPort) ([]netip.AddrPort, error) {
	n, ok := s.Nodes.Get(looker)
	if !ok {
		return nil, fmt.Errorf("node %s is not known any more", looker)
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	seen, err := w.config.Looker.Look(ctx, looker, n, addresses)
	if err != nil {
		return nil, err
	}
	if len(seen) == 0 {
		return nil, fmt.Errorf("node %s knows none of these instances", looker)
	}
	maps.DeleteFunc(seen, func(_ netip.AddrPort, answered bool) bool { return !answered })
	return slices.SortedFunc(maps.Keys(seen), netip.AddrPort.Compare), nil
}
