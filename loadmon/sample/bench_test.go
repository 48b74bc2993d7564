package sample

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/loadmon"
)

// One sample of 200 instances, each a process in control groups of its own.
func BenchmarkSample(b *testing.B) {
	l := lab.Test(b)
	var locals []loadmon.Local
	for i := range 200 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)
		file, err := ln.(*net.TCPListener).File()
		require.NoError(b, err)
		c := exec.Command("sleep", "3600")
		c.ExtraFiles = []*os.File{file}
		require.NoError(b, c.Start())
		b.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
		address := addressOf(b, ln.Addr())
		require.NoError(b, ln.Close())
		require.NoError(b, file.Close())
		group, err := l.Cgroup(fmt.Sprintf("s%d", i), 1)
		require.NoError(b, err)
		require.NoError(b, group.Add(c.Process.Pid))
		locals = append(locals, loadmon.Local{Service: "a", Instance: address.String(), Listeners: []cluster.Listener{{Address: address, Proto: cluster.TCP}}})
	}
	k, err := NewKernel(func(context.Context) (map[cluster.Listener]uint64, error) { return nil, nil })
	require.NoError(b, err)
	s := NewSampler("n1", k, 2)
	_, err = s.Sample(b.Context(), locals, time.Now())
	require.NoError(b, err)
	before, n := onCPU(b), 0
	for ; b.Loop(); n++ {
		r, err := s.Sample(b.Context(), locals, time.Now())
		require.NoError(b, err)
		require.Len(b, r.Loads, len(locals))
	}
	b.ReportMetric(100*(onCPU(b)-before).Seconds()/float64(n)/loadmon.Interval.Seconds(), "%core")
}

// onCPU is what this process has used so far: on a busy machine, time passes without it.
func onCPU(b *testing.B) time.Duration {
	var u unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
