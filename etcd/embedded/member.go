package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// Member is one of several servers that are one etcd together. All of them are given the same Cluster.
type Member struct {
	Name    string
	Dir     string // data directory; it is created. What it holds wins over Cluster
	Cluster []Peer // all members, this one too; none: it is alone, and no peers are listened for
	Joins   bool   // the cluster runs already, and this member was added to it: etcdctl member add

	Clients   []string // URLs to listen on for clients: http(s)://IP:PORT or unix:///PATH
	Advertise []string // URLs that clients are told; none: Clients
	Peers     string   // URL to listen on for peers; left out: the one in Cluster

	ClientTLS, PeerTLS Files

	Insecure bool // permits that other hosts come in by plain http, or without saying who they are
	NoSync   bool // do not wait for the disk. For tests
	Logger   *slog.Logger
}

// Peer is one member as the others reach it.
type Peer struct{ Name, URL string }

// Files of one side's TLS. CA is who may sign the certificates of those who connect; they all need one then.
type Files struct{ Cert, Key, CA string }

func (f Files) info() transport.TLSInfo {
	return transport.TLSInfo{CertFile: f.Cert, KeyFile: f.Key, TrustedCAFile: f.CA, ClientCertAuth: f.CA != ""}
}

// Start starts the member and returns without waiting for the others: Run does. It returns an error where it cannot become
// one of them: its directory is another's, an address is taken, the others have another list.
func (m Member) Start(ctx context.Context) (*Server, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	unlock, err := lock(m.Dir)
	if err != nil {
		return nil, fmt.Errorf("start etcd member %s: %w", m.Name, err)
	}
	s, err := m.start(ctx)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("start etcd member %s in %s: %w", m.Name, m.Dir, err)
	}
	s.unlock = unlock
	return s, nil
}

func (m Member) start(ctx context.Context) (*Server, error) {
	if m.fresh() {
		if sure, err := m.judge(m.ask(ctx), true); sure {
			return nil, err
		}
	}
	released(ctx, m.Dir)
	closing := new(atomic.Bool)
	etcd, err := embed.StartEtcd(m.configure(closing))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%w: another program listens there: end it, or give --listen-client-urls and --listen-peer-urls", err)
	case err != nil:
		return nil, err
	}
	s := &Server{closing: closing, etcd: etcd, endpoint: m.endpoint(), member: &m}
	if len(m.Cluster) == 0 {
		return s, nil
	}
	if err := s.remembers(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// remembers compares the cluster that the data directory knows with the one that was given.
func (s *Server) remembers() error {
	m := s.member
	var known []Peer
	for _, member := range s.etcd.Server.Cluster().Members() {
		known = append(known, Peer{member.Name, first(member.PeerURLs)})
	}
	warning, err := m.compare(known, s.etcd.Server.MemberID().String())
	if warning != "" && m.Logger != nil {
		m.Logger.Warn(warning)
	}
	return err
}

// Run waits until the member belongs to a cluster that works, and then until the context ends; it returns nil then. It returns
// an error when the member fails, or cannot become one of the others.
func (s *Server) Run(ctx context.Context) error {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	ready, doubts := s.etcd.Server.ReadyNotify(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case err, ok := <-s.Err():
			if !ok {
				err = errors.New("it was closed")
			}
			return fmt.Errorf("embedded etcd: %w", err)
		case <-s.etcd.Server.StopNotify():
			return errors.New("embedded etcd: it stopped: its log says why")
		case <-ready:
			ready = nil
			look.Stop()
			if s.member != nil && s.member.Logger != nil {
				s.member.Logger.Info("etcd member is ready", "member", s.member.Name, "members", len(s.etcd.Server.Cluster().Members()))
			}
		case <-look.C:
			if s.member == nil {
				continue
			}
			sure, err := s.member.judge(s.member.ask(ctx), false)
			if doubts++; err == nil {
				doubts = 0
			}
			if sure || doubts > patience {
				return fmt.Errorf("embedded etcd: %w", err)
			}
		}
	}
}

// patience is how often in a row a member that is not up yet is asked, until its list is believed to be wrong for good.
const patience = 10

// Ready says why the member does not answer yet, or nil.
func (s *Server) Ready() error {
	select {
	case <-s.etcd.Server.ReadyNotify():
	default:
		return errors.New("the etcd of this process waits for other members: more than half of them have to run")
	}
	if s.etcd.Server.Leader() == 0 {
		return errors.New("the etcd of this process knows of no leader: more than half of its members have to run")
	}
	return nil
}

func (m Member) configure(closing *atomic.Bool) *embed.Config {
	c := common(m.Logger, closing)
	c.Dir, c.Name = m.Dir, m.Name
	c.ListenClientUrls, c.AdvertiseClientUrls = parsed(m.Clients...), parsed(m.advertised()...)
	c.ClientTLSInfo, c.PeerTLSInfo = m.ClientTLS.info(), m.PeerTLS.info()
	c.UnsafeNoFsync = m.NoSync
	if len(m.Cluster) == 0 {
		alone(c)
		return c
	}
	own := m.own()
	c.ListenPeerUrls, c.AdvertisePeerUrls = parsed(cmp.Or(m.Peers, own)), parsed(own)
	c.InitialCluster = initialCluster(m.Cluster)
	c.InitialClusterToken = "weir"
	if m.Joins {
		c.ClusterState = embed.ClusterStateFlagExisting
	}
	return c
}

func (m Member) advertised() []string {
	if len(m.Advertise) > 0 {
		return m.Advertise
	}
	return m.Clients
}

// endpoint is where this process itself asks: where nothing leaves the host, if it listens there.
func (m Member) endpoint() string {
	for _, text := range m.Clients {
		if local(parsed(text)[0]) {
			return text
		}
	}
	return m.advertised()[0]
}

// own is the URL by which the others reach this member.
func (m Member) own() string {
	for _, p := range m.Cluster {
		if p.Name == m.Name {
			return p.URL
		}
	}
	return ""
}

// fresh says whether the directory holds nothing of a member yet.
func (m Member) fresh() bool {
	found, err := filepath.Glob(filepath.Join(m.Dir, "member", "wal", "*.wal"))
	return err == nil && len(found) == 0
}

// parsed are URLs that Check has seen.
func parsed(texts ...string) (out []url.URL) {
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil {
			u = &url.URL{}
		}
		out = append(out, *u)
	}
	return out
}

func first(urls []string) string {
	if len(urls) == 0 {
		return ""
	}
	return urls[0]
}

// local says whether a URL never leaves this host.
func local(u url.URL) bool {
	if u.Scheme == "unix" || u.Hostname() == "localhost" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}
