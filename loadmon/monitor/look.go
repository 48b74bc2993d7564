package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/door"
)

const (
	MaxLook  = 256         // addresses of one look
	maxLooks = 4           // at once
	lookWait = time.Second // for a connection
	maxBody  = 32 << 10    // of a request: MaxLook addresses of 50 bytes fit in twice
)

// Look is what POST /v1/look takes: addresses of instances.
type Look struct {
	Addresses []netip.AddrPort `json:"addresses"`
}

// Seen is what it answers: which of them accepted a connection. An address that the node does not know as an instance's is
// left out.
type Seen struct {
	Answers map[netip.AddrPort]bool `json:"answers"`
}

func (m *Monitor) look(w http.ResponseWriter, r *http.Request) {
	var asked Look
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&asked); err != nil {
		door.Refuse(w, http.StatusBadRequest, `want {"addresses":["IP:PORT", ...]}`)
		return
	}
	if len(asked.Addresses) > MaxLook {
		door.Refuse(w, http.StatusBadRequest, fmt.Sprintf("%d addresses are more than %d: ask for a part of them", len(asked.Addresses), MaxLook))
		return
	}
	snapshot := m.newest()
	if snapshot == nil {
		http.Error(w, "no snapshot has arrived yet", http.StatusServiceUnavailable)
		return
	}
	select {
	case m.looks <- struct{}{}:
		defer func() { <-m.looks }()
	default:
		door.Refuse(w, http.StatusServiceUnavailable, "too many looks at once: ask again in a second")
		return
	}
	answer(w, Seen{dial(r.Context(), instancesAmong(snapshot, asked.Addresses))})
}

// instancesAmong are those of the addresses at which an instance listens for TCP.
func instancesAmong(s *cluster.Snapshot, asked []netip.AddrPort) (out []netip.AddrPort) {
	wanted, hosts := make(map[netip.AddrPort]bool, len(asked)), make(map[netip.Addr]bool, len(asked))
	for _, address := range asked {
		wanted[address], hosts[address.Addr()] = true, true
	}
	for _, in := range s.Services.All() {
		if !mentions(in, hosts) {
			continue // most are not worth resolving
		}
		for _, state := range cluster.Resolve(in).Instances {
			if state.Status == cluster.Refused || state.Status == cluster.Duplicate {
				continue
			}
			for _, port := range in.Service.Ports {
				address, offered := state.Instance.Target(port)
				if offered && port.Protocol == cluster.TCP && wanted[address] {
					out = append(out, address)
					delete(wanted, address) // once
				}
			}
		}
	}
	return out
}

func mentions(in *cluster.Inputs, hosts map[netip.Addr]bool) bool {
	for _, list := range [][]cluster.Instance{in.Service.Instances, in.Registered} {
		for _, i := range list {
			if hosts[i.Addr] {
				return true
			}
		}
	}
	return false
}

// dial tries all addresses at the same time.
func dial(ctx context.Context, addresses []netip.AddrPort) map[netip.AddrPort]bool {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	var dialer net.Dialer
	var mu sync.Mutex
	answers := make(map[netip.AddrPort]bool, len(addresses))
	var dials sync.WaitGroup
	for _, address := range addresses {
		dials.Go(func() {
			conn, err := dialer.DialContext(ctx, "tcp", address.String())
			if err == nil {
				_ = conn.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			answers[address] = err == nil
		})
	}
	dials.Wait()
	return answers
}
