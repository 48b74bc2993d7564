package ops

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// Options say where to listen and what to show.
type Options struct {
	Address     string              // IP:port or localhost:port, default 127.0.0.1:0, a port the kernel picks
	AllowRemote bool                // permits an address that is not loopback
	Hosts       []string            // more names, without port, by which clients may call this server
	Metrics     prometheus.Gatherer // shown at /metrics; nil: no such page
	Pprof       bool                // profiles at /debug/pprof/
}

// Server answers /livez, /readyz, /metrics and /debug/.
type Server struct {
	listener net.Listener
	hosts    hosts
	handler  http.Handler
	live     checks
	ready    checks
	pages    pages
}

// ErrRemote says that an address is not loopback, without AllowRemote.
var ErrRemote = errors.New("not loopback, and these pages have no login")

// Check says what is wrong with the address without opening it, for a program that has much else to open first.
func (o Options) Check() error {
	_, err := listenAddress(o.Address, o.AllowRemote)
	return err
}

// Listen opens the listener, so that a wrong or taken address is known at once; nothing is answered before Run.
func Listen(o Options) (*Server, error) {
	addr, err := listenAddress(o.Address, o.AllowRemote)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("ops listener: %w", err)
	}
	s := &Server{listener: ln, hosts: newHosts(o.Hosts)}
	s.handler = s.routes(o)
	return s, nil
}

func listenAddress(address string, allowRemote bool) (netip.AddrPort, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("ops address %q: %w", address, err)
	}
	switch host {
	case "localhost":
		host = "127.0.0.1"
	case "":
		host = "::" // as net.Listen takes it: every address of the host
	}
	// A name is not accepted: what it resolves to may change after the check.
	addr, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("ops address %q: want IP:port or localhost:port", address)
	}
	if !addr.Addr().Unmap().IsLoopback() && !allowRemote {
		return netip.AddrPort{}, fmt.Errorf("ops address %q is %w: remote access must be allowed explicitly", address, ErrRemote)
	}
	return addr, nil
}

func (s *Server) routes(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /livez", &s.live)
	mux.Handle("GET /readyz", &s.ready)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{}))
	}
	mux.Handle("GET /debug/{$}", http.HandlerFunc(s.pages.index))
	mux.Handle("GET /debug/{name}", &s.pages)
	if o.Pprof {
		handlePprof(mux)
	}
	return s.hosts.guard(mux)
}

// Addr returns the address listened on, with the true port.
func (s *Server) Addr() netip.AddrPort {
	a := s.listener.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Live adds a check to /livez: a reason means that only a restart helps. It must be quick and is called for each
// request, also by several at once.
func (s *Server) Live(name string, check func() error) { s.live.add(name, check) }

// Ready adds a check to /readyz: a reason means not now. It must be quick and is called for each request, also by
// several at once.
func (s *Server) Ready(name string, check func() error) { s.ready.add(name, check) }

// Page shows what write writes at /debug/name: JSON if it is a JSON object or array, else text. An error gives status
// 500 and hides what was written before it. The name is made of a-z, 0-9 and dashes; a wrong or taken one panics, as in
// http.ServeMux.
func (s *Server) Page(name string, write PageFunc) { s.pages.add(name, write) }

// Run answers requests until ctx ends and returns nil when cancelled. It closes the listener, so it runs once.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		// Requests end with us: a profile of 30 seconds must not hold up a stop.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var g errgroup.Group
	stopped := make(chan struct{})
	g.Go(func() error {
		defer close(stopped)
		if err := srv.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("ops listener: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-stopped:
		}
		return shutDown(srv)
	})
	return g.Wait()
}

// shutDown lets answers under way finish, and cuts them off after two seconds.
func shutDown(srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return srv.Close()
	}
	return nil
}

// Close closes the listener of a server that never ran.
func (s *Server) Close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
