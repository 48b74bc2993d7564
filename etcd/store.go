package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// DefaultPrefix is where all keys of one Weir live. Several can share an etcd by different prefixes.
const DefaultPrefix = "/weir/v1/"

// patience is how long one request to one member may take before the next member is asked.
const patience = 5 * time.Second

// Config says which etcd, and as whom.
type Config struct {
	Endpoints []string // http(s)://HOST:PORT or unix:///PATH; several members of one cluster
	CA        string   // file with the certificates that may sign etcd's; left out: the system's
	Cert, Key string   // files of the client certificate; read again at each new connection
	User      string
	Password  string
	Prefix    string // left out: DefaultPrefix
	Insecure  bool   // accept plain http, or no authentication, on an address that is not this host's own
	Logger    *slog.Logger

	DialTimeout time.Duration // for one member, authentication included; 0: 5 s
}

// Store is one cluster's keys in one etcd. It is safe for concurrent use.
type Store struct {
	config  Config
	prefix  string
	log     *slog.Logger
	members *members
	horizon *horizon
	status  statusBox
}

// Open checks the configuration, and nothing else: it does not connect, so that an agent starts while etcd is away.
// What is unsafe is refused with cluster.ErrUnsafe.
func Open(_ context.Context, c Config) (*Store, error) {
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if !strings.HasSuffix(c.Prefix, "/") {
		c.Prefix += "/"
	}
	if c.DialTimeout <= 0 {
		c.DialTimeout = patience
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := c.safe(); err != nil {
		return nil, fmt.Errorf("open etcd: %w", err)
	}
	if c.tls() {
		if _, err := c.files().config(); err != nil {
			return nil, fmt.Errorf("open etcd: %w", err)
		}
	}
	s := &Store{config: c, prefix: c.Prefix, log: c.Logger, horizon: newHorizon()}
	s.members = newMembers(c.Endpoints, s.dial)
	s.status.set(func(st *Status) { st.Since, st.Insecure = time.Now(), c.Insecure })
	return s, nil
}

// Close ends the connection, and with it everything that still runs on it.
func (s *Store) Close() error { return s.members.close() }

// Prefix is where the keys of this store live; it ends with a slash.
func (s *Store) Prefix() string { return s.prefix }

// Client is the connection to the present member, for what this package does not do itself (election, election-fenced
// transactions). It is replaced when the store turns to another member: ask again after an error.
func (s *Store) Client() (*clientv3.Client, error) {
	l, err := s.members.link()
	if err != nil {
		return nil, explain("connect", err)
	}
	return l.client, nil
}

func (s *Store) key(k Key) string { return s.prefix + k.String() }

func (s *Store) dial(endpoint string) (*clientv3.Client, error) {
	c := clientv3.Config{
		Endpoints: []string{endpoint}, Username: s.config.User, Password: s.config.Password,
		DialTimeout: s.config.DialTimeout, Logger: zap.NewNop(),
		// Beside our own probe: a connection whose other end vanished without a word is closed.
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
		MaxUnaryRetries: 2, BackoffWaitBetween: 50 * time.Millisecond,
	}
	c.DialOptions = impatient()
	if s.config.tls() {
		c.DialOptions = append(c.DialOptions, grpc.WithTransportCredentials(&credential{files: s.config.files()}))
	}
	return clientv3.New(c)
}

// do asks one member after the other until one answers, each at least once, and for a while: an election takes seconds.
func (s *Store) do(ctx context.Context, doing string, call func(context.Context, *clientv3.Client) error) error {
	var err error
	var b backoff
	begin := time.Now()
	for n := 0; n < len(s.config.Endpoints) || time.Since(begin) < patience; n++ {
		failure := s.once(ctx, call)
		if failure == nil {
			return nil
		}
		// That somebody else left the member under this request does not say why: an earlier reason is worth more.
		if err == nil || !errors.Is(failure, errTurned) {
			err = failure
		}
		if ctx.Err() != nil || !lost(failure) {
			break
		}
		b.wait(ctx)
	}
	return explain(doing, err)
}

// once asks the present member, and turns to the next one when there is no answer.
func (s *Store) once(ctx context.Context, call func(context.Context, *clientv3.Client) error) error {
	l, err := s.members.link()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err = call(limited, l.client)
	switch {
	case err == nil || ctx.Err() != nil || !lost(err):
		return err
	case codeOf(err) == codes.Canceled && l.client.Ctx().Err() != nil:
		return errTurned
	}
	s.members.turn(l)
	return err
}
