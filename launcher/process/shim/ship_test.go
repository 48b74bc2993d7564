package shim

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/launcher"
)

func ship(t *testing.T, address string) *shipper {
	s, err := newShipper(launcher.Spec{ID: "a", Service: "s", LogAddress: address})
	require.NoError(t, err)
	return s
}

// messages reads what a connection carries until its end.
func messages(t *testing.T, conn net.Conn) (out []string) {
	for r := bufio.NewReader(conn); ; {
		var size int
		if _, err := fmt.Fscanf(r, "%d ", &size); err != nil {
			return out
		}
		text := make([]byte, size)
		_, err := io.ReadFull(r, text)
		require.NoError(t, err)
		out = append(out, string(text))
	}
}

// What does not fit the queue is counted, and the server is told of the gap.
func TestShipperDrops(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	s := ship(t, "tcp://"+l.Addr().String())
	for range 100 {
		s.offer(time.Now(), "stdout", []byte(strings.Repeat("x", 8000)))
	}
	lost := s.losses()
	require.Greater(t, lost, uint64(60))
	require.Less(t, lost, uint64(100))
	require.LessOrEqual(t, s.bytes, queueBytes)
	var got []string
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err == nil {
			got = messages(t, conn)
			conn.Close()
		}
	})
	go s.run()
	s.close(20 * time.Second)
	wg.Wait()
	require.Len(t, got, 100-int(lost)+1)
	require.Contains(t, got[len(got)-1], fmt.Sprintf("weir: %d lines were dropped here", lost))
	require.True(t, strings.HasPrefix(got[len(got)-1], "<11>1 "))
	s.offer(time.Now(), "stdout", []byte("late"))
	require.Equal(t, lost+1, s.losses())
}

// Without a server the queue is given up at the end, in the time that was allowed.
func TestShipperWithoutServer(t *testing.T) {
	t.Parallel()
	s := ship(t, "tcp://"+lab.Loopback().String())
	go s.run()
	for range 10 {
		s.offer(time.Now(), "stderr", []byte("line"))
	}
	s.close(20 * time.Second)
	select {
	case <-s.done:
	default:
		t.Fatal("it goes on")
	}
	require.Equal(t, uint64(10), s.losses())
}

func TestShipperOfNothing(t *testing.T) {
	t.Parallel()
	s := ship(t, "")
	require.Nil(t, s)
	s.offer(time.Now(), "stdout", []byte("line"))
	s.close(time.Hour)
	require.Zero(t, s.losses())
	_, err := newShipper(launcher.Spec{LogAddress: "http://x"})
	require.Error(t, err)
}

func TestDatagramsAreBounded(t *testing.T) {
	t.Parallel()
	s := ship(t, "udp://127.0.0.1:9")
	require.Len(t, s.message(time.Now(), 14, make([]byte, 9000)), datagramSize)
}
