package chaos

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// notPermitted has another program take the name of our table for itself, so that the kernel answers each write of ours
// with EPERM, and give it back.
func notPermitted(r *run) {
	if r.Driver == "ipt" {
		noProgram(r)
		return
	}
	w := r.world(integration.Options{})
	p, a, node := r.probe(w), w.Agents[0], w.Nodes[0]
	p.stop() // without our table nothing works, and that is not the question
	thief := node.Command("nft", "-i")
	orders, err := thief.StdinPipe()
	require.NoError(r, err)
	require.NoError(r, node.Start(thief))
	defer func() { _ = thief.Process.Kill(); _ = thief.Wait() }()
	a.Signal(stopSignal) // it would repair in between
	_, err = io.WriteString(orders, "delete table ip weir\nadd table ip weir { flags owner; }\n")
	require.NoError(r, err)
	w.Eventually(5*time.Second, "the table is the other program's", func() bool { return strings.Contains(r.ruleset(node), "flags owner") })
	a.Signal(continueSignal)
	began := time.Now()
	w.Eventually(5*time.Second, "the agent says that it is not ready", r.unready(a, "rules could not be written"))
	r.detected(time.Since(began))
	used := a.CPU()
	<-time.After(10 * time.Second) // a window to measure in
	r.figure("cpu_percent", (a.CPU()-used).Seconds()*10)
	live, _ := a.Get("/livez")
	require.Equal(r, http.StatusOK, live)
	require.NoError(r, thief.Process.Kill()) // its table goes with it
	began = time.Now()
	a.AwaitReady(35 * time.Second)
	r.repaired(time.Since(began))
	w.Only(w.Client, p.tcp, p.addresses...)
	require.Less(r, r.line.Figures["cpu_percent"], 1.0)
}

// noProgram starts the agent where there is no iptables, and then where there is.
func noProgram(r *run) {
	w := r.world(integration.Options{})
	p, a := r.probe(w), w.Agents[0]
	a.Kill()
	a.Env = []string{"PATH=/nonexistent"}
	began := time.Now()
	a.Start()
	w.Eventually(5*time.Second, "the agent says that it is not ready", r.unready(a, "iptables"))
	r.detected(time.Since(began))
	used := a.CPU()
	<-time.After(10 * time.Second) // a window to measure in
	r.figure("cpu_percent", (a.CPU()-used).Seconds()*10)
	a.Kill()
	a.Env = nil
	began = time.Now()
	a.Start()
	a.AwaitReady(10 * time.Second)
	r.repaired(time.Since(began))
	p.unharmed() // the rules stayed
	require.Less(r, r.line.Figures["cpu_percent"], 1.0)
}

// unready says whether an agent answers 503 with a text.
func (r *run) unready(a *integration.Agent, text string) func() bool {
	return func() bool {
		code, body := a.Get("/readyz")
		return code == http.StatusServiceUnavailable && strings.Contains(body, text)
	}
}

// holdKernel has another program keep the namespace's nf_tables busy with one transaction that takes very long: thousands
// of chains, each validated for each map that leads to them. It ends at once when the program is killed.
func (r *run) holdKernel(node *lab.Host) (release func()) {
	r.Helper()
	var script bytes.Buffer
	fmt.Fprintln(&script, "table ip heavy {")
	const services = 25000
	for i := range services {
		fmt.Fprintf(&script, "chain e%d { }\nchain s%d { numgen random mod 2 vmap { 0 : goto e%d, 1 : goto e%d }; }\n", i, i, i, (i+1)%services)
	}
	fmt.Fprintln(&script, "}")
	hold := node.Command("nft", "-f", "-")
	hold.Stdin = &script
	require.NoError(r, node.Start(hold))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = hold.Wait()
	}()
	release = func() {
		_ = hold.Process.Kill()
		<-ended
	}
	r.Cleanup(release)
	w := time.After(20 * time.Second)
	for {
		probing := node.Command("nft", "add table ip canary; delete table ip canary")
		require.NoError(r, node.Start(probing))
		passed := make(chan struct{})
		go func() {
			defer close(passed)
			_ = probing.Wait()
		}()
		select {
		case <-passed: // the transaction has not begun
		case <-time.After(time.Second):
			return release
		}
		select {
		case <-w:
			require.FailNow(r, "the kernel never was busy")
		case <-ended:
			require.FailNow(r, "the kernel was done before anybody noticed")
		default:
		}
	}
}

// kernelHangs: a write that does not return makes the agent unready and, in the end, not live; it goes on by itself when
// the kernel does.
func kernelHangs(r *run) {
	w := r.world(integration.Options{})
	p, a := r.probe(w), w.Agents[0]
	release := r.holdKernel(w.Nodes[0])
	began := time.Now()
	w.Write(p.service(p.addresses[:2]...))
	w.Eventually(20*time.Second, "the agent says that it is not ready", func() bool {
		code, _ := a.Get("/readyz")
		return code == http.StatusServiceUnavailable
	})
	r.detected(time.Since(began))
	require.Less(r, r.line.Detect, 11500.0)
	release()
	began = time.Now()
	a.AwaitReady(30 * time.Second)
	r.repaired(time.Since(began))
	w.Only(w.Client, p.tcp, p.addresses[:2]...)
	p.unharmed()
}

// watchdog: an agent whose writer stands still no longer tells systemd that it lives.
func watchdog(r *run) {
	w := r.world(integration.Options{})
	p, a := r.probe(w), w.Agents[0]
	socket := filepath.Join(w.Dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	require.NoError(r, err)
	defer conn.Close()
	a.Stop()
	a.Env = []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=1000000"}
	a.Start()
	a.AwaitReady(10 * time.Second)
	ping := func(within time.Duration) bool {
		buf := make([]byte, 100)
		deadline := time.Now().Add(within)
		for {
			require.NoError(r, conn.SetReadDeadline(deadline))
			n, err := conn.Read(buf)
			if err != nil {
				return false
			}
			if strings.Contains(string(buf[:n]), "WATCHDOG=1") {
				return true
			}
		}
	}
	require.True(r, ping(2*time.Second), "no ping while all is well")
	release := r.holdKernel(w.Nodes[0])
	w.Write(p.service(p.addresses[:2]...))
	began := time.Now()
	for ping(2 * time.Second) {
		require.Less(r, time.Since(began), 35*time.Second, "it says that it lives although nothing moves")
	}
	r.detected(time.Since(began) - 2*time.Second)
	release()
	require.True(r, ping(30*time.Second), "no ping after it moves again")
	p.unharmed()
}
