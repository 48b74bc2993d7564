// Package embedded runs an etcd server inside the process: alone (Start), for a single node that wants no second thing to
// install, for the demo, and for tests; or as one member of several (Member), for control centers that bring their etcd along.
//
// Guarantees: a server that is alone is reachable on loopback or a unix socket only. A member that other hosts can reach asks
// them for certificates, for clients and for peers, unless that is permitted by name. Data survives in Dir, and one process has
// it at a time. Old revisions are compacted, which etcd does not do by itself.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// Options say where the server lives.
type Options struct {
	Dir    string // data directory; it is created
	Listen string // "127.0.0.1:2379", "[::1]:0" (0: any free port) or "unix:///run/weir/etcd.sock"
	Name   string // member name; left out: "weir"
	Logger *slog.Logger

	QuotaBytes int64         // database size at which etcd turns read-only; 0: etcd's default, 2 GiB
	Retention  time.Duration // how long old revisions stay readable; 0: 1 h. A watcher that was away for longer lists again
	NoSync     bool          // do not wait for the disk: faster, but a power cut loses data. For tests
	WeakHashes bool          // hash passwords in a millisecond, so that a guess takes no longer. For tests that log in often
}

// Server is a running etcd.
type Server struct {
	closing  *atomic.Bool
	etcd     *embed.Etcd
	endpoint string
	member   *Member // nil: it is alone
	unlock   func()  // nil: nothing is locked
	once     sync.Once
}

// Start returns when the server answers, or with the reason why it does not.
func Start(ctx context.Context, o Options) (*Server, error) {
	closing := new(atomic.Bool)
	config, err := configure(o, closing)
	if err != nil {
		return nil, fmt.Errorf("start embedded etcd: %w", err)
	}
	released(ctx, o.Dir)
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("start embedded etcd in %s on %s: %w", o.Dir, o.Listen, err)
	}
	s := &Server{closing: closing, etcd: etcd, endpoint: endpoint(o.Listen, etcd.Clients[0])}
	select {
	case <-etcd.Server.ReadyNotify():
		return s, nil
	case <-etcd.Server.StopNotify():
		err = errors.New("it stopped while starting")
	case err = <-etcd.Err():
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	return nil, fmt.Errorf("start embedded etcd in %s on %s: %w", o.Dir, o.Listen, err)
}

// Endpoint is what a client connects to: http://127.0.0.1:PORT or unix:///PATH.
func (s *Server) Endpoint() string { return s.endpoint }

// Err tells of a failure while running; it is closed by Close.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close stops the server and waits until its files and sockets are closed. Closing twice is fine.
func (s *Server) Close() {
	s.once.Do(func() {
		s.closing.Store(true)
		select {
		case <-s.etcd.Server.ReadyNotify():
		default:
			s.etcd.Server.HardStop() // etcd's own Close waits until it is ready
		}
		s.etcd.Close()
		<-s.etcd.Server.StopNotify()
		if s.unlock != nil {
			s.unlock()
		}
	})
}

func configure(o Options, closing *atomic.Bool) (*embed.Config, error) {
	listen, err := listenURL(o.Listen)
	if err != nil {
		return nil, err
	}
	c := common(o.Logger, closing)
	c.Dir, c.Name = o.Dir, o.Name
	if c.Name == "" {
		c.Name = "weir"
	}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{listen}, []url.URL{listen}
	alone(c)
	if o.Retention > 0 {
		c.AutoCompactionRetention = o.Retention.String()
	}
	c.QuotaBackendBytes = o.QuotaBytes
	c.UnsafeNoFsync = o.NoSync
	if o.WeakHashes {
		c.BcryptCost = bcryptMinCost
	}
	return c, nil
}

// common is what all servers have.
func common(logger *slog.Logger, closing *atomic.Bool) *embed.Config {
	c := embed.NewConfig()
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = time.Hour.String()
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(quiet(logger, closing))
	return c
}

// alone makes a server without peers: nothing listens for them. The address that it has to advertise is one nobody can dial.
func alone(c *embed.Config) {
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:1"}}
	c.InitialCluster = c.Name + "=" + c.AdvertisePeerUrls[0].String()
}

// bcryptMinCost is the lowest cost that bcrypt knows.
const bcryptMinCost = 4

// listenURL refuses whatever another host could reach: this server knows no authentication of its own.
func listenURL(listen string) (url.URL, error) {
	if path, ok := strings.CutPrefix(listen, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return url.URL{}, fmt.Errorf("listen on %q: want unix:///ABSOLUTE/PATH", listen)
		}
		return url.URL{Scheme: "unix", Path: path}, nil
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return url.URL{}, fmt.Errorf("listen on %q: want HOST:PORT or unix:///PATH: %w", listen, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return url.URL{}, fmt.Errorf("listen on %q: only a loopback address or a unix socket: run etcd itself to serve other hosts", listen)
	}
	return url.URL{Scheme: "http", Host: listen}, nil
}

func endpoint(listen string, l net.Listener) string {
	if strings.HasPrefix(listen, "unix://") {
		return listen
	}
	return "http://" + l.Addr().String()
}
