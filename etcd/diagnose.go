package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Diagnosis is what is known of the etcd itself, for whoever judges it. Nothing is changed to find it out.
type Diagnosis struct {
	Endpoints    []Endpoint // those of the configuration, and those of members that no one of them leads to
	Members      []Member
	MembersErr   error
	Certificates []Certificate
	Access       Access
	History      History
	HistoryErr   error
	BarrierAt    time.Time // by the clock of who wrote net/barrier; zero: nobody did
	Insecure     bool      // --insecure-etcd was given
}

// Endpoint is one member as it answered.
type Endpoint struct {
	URL         string
	Given       bool // in the configuration
	Local       bool // never leaves this host
	HTTPS       bool
	Err         error // it did not answer; the rest is unknown then
	Version     string
	Member      uint64
	Leader      uint64 // 0: it knows none
	Learner     bool
	Size, InUse int64 // of the database, bytes
	Quota       int64 // 0: it does not tell (before 3.6)
	Alarms      []string
}

// Member is one member as the others know it.
type Member struct {
	ID      uint64
	Name    string
	URLs    []string
	Learner bool
}

// Certificate is one that etcd or we present, or that signs them.
type Certificate struct {
	Whose    string // "server https://etcd-1:2379", "client file /etc/weir/node.pem"
	Subject  string
	NotAfter time.Time
}

// History says how many old revisions are kept.
type History struct{ Revision, Compacted int64 }

// Diagnose asks each member, and the cluster. What could not be asked is told in its place; the error is only for when no
// member answers at all.
func (s *Store) Diagnose(ctx context.Context) (*Diagnosis, error) {
	d := &Diagnosis{Insecure: s.config.Insecure}
	for _, url := range s.config.Endpoints {
		d.Endpoints = append(d.Endpoints, s.ask(ctx, url, true))
		d.Certificates = append(d.Certificates, s.serverCertificates(ctx, url)...)
	}
	d.Certificates = append(d.Certificates, s.ownCertificates()...)
	if !slices.ContainsFunc(d.Endpoints, func(e Endpoint) bool { return e.Err == nil }) {
		return d, explain("ask etcd how it is", d.Endpoints[0].Err)
	}
	d.MembersErr = s.do(ctx, "list the members", func(ctx context.Context, c *clientv3.Client) error {
		r, err := c.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, m := range r.Members {
			d.Members = append(d.Members, Member{m.ID, m.Name, m.ClientURLs, m.IsLearner})
		}
		return nil
	})
	s.askOthers(ctx, d)
	d.Access = s.Access(ctx)
	d.HistoryErr = s.do(ctx, "ask for the history", func(ctx context.Context, c *clientv3.Client) (err error) {
		d.History, err = s.history(ctx, c)
		return err
	})
	d.BarrierAt = s.barrierAt(ctx)
	return d, nil
}

// ask asks one member by a connection of its own.
func (s *Store) ask(ctx context.Context, url string, given bool) Endpoint {
	e := Endpoint{URL: url, Given: given}
	e.HTTPS, e.Local, e.Err = classify(url)
	if e.Err != nil {
		return e
	}
	c, err := s.dial(url)
	if err != nil {
		e.Err = err
		return e
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, s.config.DialTimeout)
	defer cancel()
	r, err := c.Status(ctx, url)
	if err != nil {
		e.Err = err
		return e
	}
	e.Version, e.Member, e.Leader, e.Learner = r.Version, r.Header.MemberId, r.Leader, r.IsLearner
	e.Size, e.InUse, e.Quota, e.Alarms = r.DbSize, r.DbSizeInUse, r.DbSizeQuota, r.Errors
	return e
}

// askOthers asks the members that none of the endpoints led to, where that is as safe as the endpoints are.
func (s *Store) askOthers(ctx context.Context, d *Diagnosis) {
	for _, m := range d.Members {
		if slices.ContainsFunc(d.Endpoints, func(e Endpoint) bool { return e.Member == m.ID || slices.Contains(m.URLs, e.URL) }) {
			continue
		}
		for _, url := range m.URLs {
			c := s.config
			c.Endpoints = []string{url}
			if _, local, err := classify(url); err != nil || local || c.safe() != nil || c.tls() != s.config.tls() {
				continue
			}
			d.Endpoints = append(d.Endpoints, s.ask(ctx, url, false))
			break
		}
	}
}

// serverCertificates are those that an endpoint presents. Whether they are valid is decided by the connection itself.
func (s *Store) serverCertificates(ctx context.Context, endpoint string) (out []Certificate) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" {
		return nil
	}
	config, err := s.config.files().config()
	if err != nil {
		return nil
	}
	config.InsecureSkipVerify = true // only looked at: an expired one is what we are after
	ctx, cancel := context.WithTimeout(ctx, s.config.DialTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config, NetDialer: &net.Dialer{}}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil // the endpoint does not answer, which is told elsewhere
	}
	defer conn.Close()
	for _, c := range conn.(*tls.Conn).ConnectionState().PeerCertificates {
		out = append(out, certificate("server "+endpoint, c))
	}
	return out
}

func (s *Store) ownCertificates() (out []Certificate) {
	for whose, path := range map[string]string{"CA file ": s.config.CA, "client file ": s.config.Cert} {
		text, err := os.ReadFile(path)
		if path == "" || err != nil {
			continue // Open looked at them
		}
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil {
				out = append(out, certificate(whose+path, c))
			}
		}
	}
	slices.SortFunc(out, func(a, b Certificate) int { return strings.Compare(a.Whose, b.Whose) })
	return out
}

func certificate(whose string, c *x509.Certificate) Certificate {
	return Certificate{Whose: whose, Subject: printable(c.Subject.String()), NotAfter: c.NotAfter}
}

// history finds the oldest revision that is kept: a watch from the first one is told.
func (s *Store) history(ctx context.Context, c *clientv3.Client) (h History, err error) {
	r, err := c.Get(ctx, s.prefix+readyKey, clientv3.WithCountOnly())
	if err != nil {
		return h, err
	}
	h.Revision = r.Header.Revision
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	select {
	case answer := <-streamOf(c).Watch(ctx, s.prefix+readyKey, clientv3.WithRev(1)): // an old event, or the word that they are gone
		h.Compacted = answer.CompactRevision
	case <-time.After(compactionWord):
	}
	return h, nil
}

// compactionWord is how long to wait for the word that old revisions are gone. It comes in a millisecond.
const compactionWord = 300 * time.Millisecond

// barrierAt is when somebody last waited for the nodes; zero where that cannot be read.
func (s *Store) barrierAt(ctx context.Context) time.Time {
	var value []byte
	_ = s.do(ctx, "read the barrier", func(ctx context.Context, c *clientv3.Client) error {
		found, err := s.read(ctx, c, []string{barrierKey})
		if err == nil && found[0] != nil {
			value = found[0].Value
		}
		return err
	})
	b, err := decode[Barrier](value)
	if err != nil {
		return time.Time{}
	}
	return b.At
}

func (m Member) String() string { return fmt.Sprintf("%s (%x)", printable(m.Name), m.ID) }
