package door

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weir-lb/weir/internal/runner"
)

// maxConnections is how many may be open at the same time, also those that say nothing.
const maxConnections = 64

// Server answers on one address. It is no condition for anything else: when it cannot listen it says so, and tries again.
type Server struct {
	What    string         // answers here, for errors and the log: "load monitor"
	Address netip.AddrPort // [::]: all addresses of this host
	TLS     *Credential    // nil: plain http
	Handler http.Handler
	Logger  *slog.Logger
	Failed  func() // is told of each time that it cannot listen; nil: nobody is

	mu       sync.Mutex
	listener net.Listener // nil while it does not listen
}

// Open begins to listen; nothing is answered before Run.
func (s *Server) Open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	var config *tls.Config
	var err error
	if s.TLS != nil {
		if config, err = s.TLS.Server(); err != nil {
			return fmt.Errorf("%s: %w", s.What, err)
		}
	}
	address := s.Address.String()
	if s.Address.Addr() == netip.IPv6Unspecified() {
		address = fmt.Sprintf(":%d", s.Address.Port()) // both families, or the one that the host has
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s: %w", s.What, err)
	}
	l = &limited{Listener: l, slots: make(chan struct{}, maxConnections), closed: make(chan struct{})}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	s.listener = l
	return nil
}

// Port is what it listens on; 0: it does not, now.
func (s *Server) Port() uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return 0
	}
	return s.listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

const (
	reopenMin = time.Second
	reopenMax = 30 * time.Second
)

// Run answers until the context ends, and returns nil then.
func (s *Server) Run(ctx context.Context) error {
	for pause := reopenMin; ; pause = min(2*pause, reopenMax) {
		err := s.Open()
		if err == nil {
			pause = reopenMin
			err = s.serve(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if s.Failed != nil {
			s.Failed()
		}
		s.Logger.Error(s.What+": listen", "address", s.Address, "err", err, "retry", pause.String())
		if !runner.Sleep(ctx, pause) {
			return nil
		}
	}
}

func (s *Server) serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.Logger.Handler(), slog.LevelDebug), // of handshakes that fail: anybody can cause them
	}
	s.mu.Lock()
	listener := s.listener
	s.mu.Unlock()
	var g errgroup.Group
	stopped := make(chan struct{})
	g.Go(func() error {
		defer close(stopped)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-stopped:
		}
		s.mu.Lock()
		s.listener = nil
		s.mu.Unlock()
		return server.Close()
	})
	return g.Wait()
}

// limited accepts no more connections at once than it has slots.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slot{Conn: conn, free: func() { <-l.slots }}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// slot gives its place free when it is closed.
type slot struct {
	net.Conn
	once sync.Once
	free func()
}

func (s *slot) Close() error {
	err := s.Conn.Close()
	s.once.Do(s.free)
	return err
}
