package check

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon/sample"
)

const (
	serving  = "WEIR_TEST_SERVES" // a process that serves instances for benchmarks, so that only the checker's CPU is measured
	measured = 10 * time.Second
)

// BenchmarkThousand prints what a thousand checks each two seconds cost: the share of one core, and the memory.
//
//	go test ./loadmon/check -run '^$' -bench Thousand -benchtime 1x
func BenchmarkThousand(b *testing.B) {
	for _, kind := range []string{"tcp", "http", "grpc", "none"} {
		for _, n := range []int{200, 1000} {
			b.Run(fmt.Sprintf("%s-%d", kind, n), func(b *testing.B) { cost(b, kind, n) })
		}
	}
}

func cost(b *testing.B, kind string, n int) {
	addresses := others(b, kind, n)
	check := &cluster.Check{}
	switch kind {
	case "tcp":
		check.TCP = &cluster.TCPCheck{}
	case "http":
		check.HTTP = &cluster.HTTPCheck{}
	case "grpc":
		check.GRPC = &cluster.GRPCCheck{}
	default:
		check = nil
	}
	c := New(Options{Node: "n1", Listening: sample.Listening})
	c.Want(world(service("a", check, addresses...)).Snapshot(1))
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	time.Sleep(3 * time.Second) // each was checked once
	from := usage(b)
	checks := made(c)
	for b.Loop() {
		time.Sleep(measured)
	}
	used := usage(b) - from
	elapsed := b.Elapsed()
	checks = made(c) - checks
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.ReportMetric(100*used.Seconds()/elapsed.Seconds(), "%core")
	b.ReportMetric(float64(checks)/elapsed.Seconds(), "checks/s")
	b.ReportMetric(float64(memory.Sys)/(1<<20), "MiB")
	b.ReportMetric(0, "ns/op")
	require.Empty(b, c.Health())
	cancel()
	require.NoError(b, <-ended)
}

func made(c *Checker) (n uint64) {
	for _, r := range c.Results() {
		n += r.Connections
	}
	return n
}

func usage(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// others starts a process that serves so many instances.
func others(b *testing.B, kind string, n int) (addresses []netip.AddrPort) {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), serving+"="+kind, fmt.Sprintf("WEIR_TEST_N=%d", n))
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, c.Start())
	b.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	lines := bufio.NewScanner(out)
	for len(addresses) < n && lines.Scan() {
		addresses = append(addresses, netip.MustParseAddrPort(lines.Text()))
	}
	require.Len(b, addresses, n)
	return addresses
}

// serve is the main function of that process.
func serve(kind string) {
	var n int
	_, _ = fmt.Sscan(os.Getenv("WEIR_TEST_N"), &n)
	var text strings.Builder
	for range n {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Fprintln(&text, l.Addr())
		switch kind {
		case "http":
			go func() { _ = http.Serve(l, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) }()
		case "grpc":
			s := grpc.NewServer()
			healthpb.RegisterHealthServer(s, health.NewServer())
			go func() { _ = s.Serve(l) }()
		default:
			go func() {
				for {
					conn, err := l.Accept()
					if err == nil {
						_ = conn.Close()
					}
				}
			}()
		}
	}
	fmt.Print(text.String())
	select {}
}
