package foreman_test

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
)

// host runs instances as plain processes of the test: what a driver does, with as little as it takes.
type host struct {
	at    netip.Addr // where they listen: an address of its own, so that nobody else has their ports
	mu    sync.Mutex
	there map[string]*running
	busy  int // a port that somebody else has; 0: the first that is asked for, -1: none
}

type running struct {
	status launcher.Status
	cmd    *exec.Cmd
}

var hosts atomic.Uint32 // that this process made

func newHost() *host {
	pid := os.Getpid()
	return &host{
		at: netip.AddrFrom4([4]byte{127, byte(1 + pid>>8%250), byte(pid), byte(hosts.Add(1))}), there: map[string]*running{}, busy: -1,
	}
}

func (h *host) Ensure(_ context.Context, spec launcher.Spec) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r := h.there[spec.ID]; r != nil && r.status.State == launcher.Running {
		return nil
	}
	port := spec.Ports[0].Port
	if h.busy == 0 {
		h.busy = int(port)
	}
	if h.busy == int(port) {
		return launcher.Busy(port)
	}
	cmd := exec.Command(os.Args[0], "listen", netip.AddrPortFrom(h.at, port).String())
	if err := cmd.Start(); err != nil {
		return err
	}
	r := h.there[spec.ID]
	if r == nil {
		r = &running{status: launcher.Status{ID: spec.ID, Service: spec.Service}}
		h.there[spec.ID] = r
	}
	r.cmd = cmd
	r.status.State, r.status.PID, r.status.Started = launcher.Running, cmd.Process.Pid, time.Now()
	r.status.Starts++
	go func() {
		_ = cmd.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		r.status.State, r.status.PID = launcher.Exited, 0
		r.status.Exits = append(slices.Clone(r.status.Exits), launcher.Exit{At: time.Now(), Code: -1, Signal: "killed"})
	}()
	return nil
}

func (h *host) Stop(_ context.Context, id string, _ time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.end(id)
	return nil
}

// end kills an instance; h.mu is held.
func (h *host) end(id string) {
	if r := h.there[id]; r != nil && r.status.State == launcher.Running {
		_ = r.cmd.Process.Kill()
	}
	delete(h.there, id)
}

// clear ends all that runs.
func (h *host) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range maps.Clone(h.there) {
		h.end(id)
	}
}

func (h *host) List(context.Context) (out []launcher.Status, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.there {
		out = append(out, r.status)
	}
	return out, nil
}

// probe connects to an instance, whose node's address is nobody's here.
func (h *host) probe(ctx context.Context, _ *cluster.Check, at netip.AddrPort) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(h.at.String(), strconv.Itoa(int(at.Port()))))
	if err == nil {
		_ = c.Close()
	}
	return err
}

func (h *host) kill(t *testing.T, id string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	require.NoError(t, h.there[id].cmd.Process.Kill())
}

// occupy has somebody else listen at the first port that is asked for.
func (h *host) occupy() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy = 0
}

func (h *host) occupied() uint16 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return uint16(h.busy)
}

// pids are the processes of those that run, by instance.
func (h *host) pids() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]int{}
	for id, r := range h.there {
		if r.status.PID != 0 {
			out[id] = r.status.PID
		}
	}
	return out
}

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "listen" {
		listen(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

// listen is an instance: it accepts until it is killed, or its parent is gone.
func listen(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		os.Exit(1)
	}
	go func() {
		for parent := os.Getppid(); os.Getppid() == parent; {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(0)
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			os.Exit(1)
		}
		_ = c.Close()
	}
}
