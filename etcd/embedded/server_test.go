package embedded

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/weir-lb/weir/internal/leaks"
)

func TestServesAndKeepsItsData(t *testing.T) {
	// A unix socket's path may have 108 bytes; a test's own directory can be longer.
	short, err := os.MkdirTemp("", "weir")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	for name, listen := range map[string]string{
		"loopback": "127.0.0.1:0", "IPv6": "[::1]:0", "unix": "unix://" + filepath.Join(short, "etcd.sock"),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, listen, "v1")
			require.Equal(t, "v1", put(t, dir, listen, "v2"))
		})
	}
}

// put starts a server, swaps the value of one key and stops the server.
func put(t *testing.T, dir, listen, value string) (before string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s, err := Start(ctx, Options{Dir: dir, Listen: listen, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer s.Close()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}, Logger: zap.NewNop()})
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	r, err := c.Put(ctx, "k", value, clientv3.WithPrevKV())
	require.NoError(t, err)
	if r.PrevKv == nil {
		return ""
	}
	return string(r.PrevKv.Value)
}

func TestRefusesWhatOthersCouldReach(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "192.0.2.1:2379", "localhost", "example.com:1", "unix://relative", ""} {
		_, err := Start(t.Context(), Options{Dir: t.TempDir(), Listen: listen})
		require.Error(t, err, listen)
	}
}

func TestMain(m *testing.M) {
	leaks.Main(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

func TestClosingIsNoError(t *testing.T) {
	var log bytes.Buffer
	s, err := Start(t.Context(), Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", NoSync: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	s.Close()
	require.Empty(t, log.String(), "etcd calls the closing of its sockets an error")
}
