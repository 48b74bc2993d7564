package door

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// ErrNone says that a node tells of nothing that could be asked.
var ErrNone = errors.New("none runs there")

// ErrNoToken says that nobody has made the token yet.
var ErrNoToken = errors.New("there is no token in ops/secret yet: the leader makes it (weir controlcenter serve)")

// Client asks nodes. It is safe for concurrent use; nothing is opened before the first question.
type Client struct {
	Token    func(context.Context) (string, error) // of ops/secret; "": there is none
	TLS      *Credential                           // nil: etcd is not reached by TLS
	Insecure bool                                  // plain http to other hosts is accepted
	Loopback bool                                  // etcd never leaves this host, so the nodes' loopback is this host's
	Timeout  time.Duration                         // of one question, or of the beginning of an endless answer. Default 3 s

	// Dial connects to a node; nil: from where this process stands.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	once  sync.Once
	http  *http.Client
	mu    sync.Mutex
	token string // that was read last
	read  time.Time
}

// Question is one request to one node.
type Question struct {
	Node    string        // its name
	Record  *cluster.Node // what it tells of itself; nil: nothing
	What    string        // is asked there, for errors: "load monitor"
	URL     string        // where that answers, as etcd says; "": nowhere
	Method  string
	Path    string
	Body    []byte
	Endless time.Duration // 0: the answer is there within Timeout. Else it may go on for ever, and is never silent for so long
}

const maxRefusal = 256 // of what a node says that does not do what it was asked

// Ask sends a question and has its answer read, if it is one.
func (c *Client) Ask(ctx context.Context, q Question, read func(io.Reader) error) error {
	c.once.Do(c.open)
	base, address, err := c.reachable(q)
	if err != nil {
		return fmt.Errorf("ask the %s of node %s: %w", q.What, q.Node, err)
	}
	ctx, cancel := context.WithCancelCause(withTarget(ctx, target{q.Node, address}))
	defer cancel(nil)
	patience := time.AfterFunc(c.Timeout, func() { cancel(context.DeadlineExceeded) })
	defer patience.Stop()
	if q.Endless > 0 {
		whole := read
		read = func(answer io.Reader) error { return whole(&heard{answer, patience, q.Endless}) }
	}
	token, err := c.known(ctx, "")
	if err == nil {
		err = c.send(ctx, q, base, token, read)
	}
	var refused *refusal
	if errors.As(err, &refused) && refused.code == http.StatusUnauthorized {
		again, terr := c.known(ctx, token)
		switch {
		case terr != nil:
			err = terr
		case again != token:
			err = c.send(ctx, q, base, again, read)
		}
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	return fmt.Errorf("ask the %s of node %s at %s: %w", q.What, q.Node, base, plainURL(err))
}

// heard is an answer that goes on, and that has to say something from time to time.
type heard struct {
	io.Reader
	patience *time.Timer
	most     time.Duration
}

func (h *heard) Read(p []byte) (int, error) {
	h.patience.Reset(h.most)
	defer h.patience.Stop() // who reads may take as long as it likes
	return h.Reader.Read(p)
}

// plainURL leaves out what the caller says already.
func plainURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// refusal is an answer that is not the one that was asked for.
type refusal struct {
	code int
	says string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("it answers %d %s: %s", r.code, http.StatusText(r.code), r.says)
}

func (c *Client) send(ctx context.Context, q Question, base, token string, read func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, q.Method, base+q.Path, bytes.NewReader(q.Body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if t, _ := targetOf(ctx); answer.TLS != nil { // the connection may have been made when the address was another node's
		if err := vouches(answer.TLS.PeerCertificates[0], t.node, t.address.Addr()); err != nil {
			return err
		}
	}
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxRefusal))
		return &refusal{answer.StatusCode, plain.Words(string(text), maxRefusal)}
	}
	if err := read(answer.Body); err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, answer.Body, 1) // its end, so that the connection is used again
	return nil
}

// known is the token; one that was refused is asked for again, by one at a time, and not more than once a second.
func (c *Client) known(ctx context.Context, refused string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" && (c.token != refused || time.Since(c.read) < gatePause) {
		return c.token, nil
	}
	token, err := c.Token(ctx)
	if err == nil && token == "" {
		err = ErrNoToken
	}
	if err != nil {
		return "", err
	}
	c.token, c.read = token, time.Now()
	return token, nil
}

// reachable is where a node answers, if that is an address of the node and of nobody else.
func (c *Client) reachable(q Question) (base string, address netip.AddrPort, err error) {
	if q.Record == nil || q.URL == "" {
		return "", address, ErrNone
	}
	u, err := url.Parse(q.URL)
	if err == nil {
		address, err = netip.ParseAddrPort(u.Host)
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || address.Port() == 0 || *u != (url.URL{Scheme: u.Scheme, Host: u.Host}) {
		return "", address, fmt.Errorf("its record gives it as %s: want http(s)://ADDRESS:PORT", plain.Line(q.URL, maxRefusal))
	}
	base = u.Scheme + "://" + address.String()
	local := address.Addr().IsLoopback()
	switch {
	case local && !c.Loopback:
		return "", address, fmt.Errorf("it listens on %s of its node only: let it listen where others reach it, and give etcd TLS", base)
	case !local && (!slices.Contains(q.Record.Addresses, address.Addr()) || (*cluster.Config)(nil).RefuseInstance(address.Addr(), "") != ""):
		return "", address, fmt.Errorf("its record gives it as %s, which is not an address of the node", base)
	case u.Scheme == "https" && c.TLS == nil:
		return "", address, fmt.Errorf("%s wants a certificate: give --etcd-ca, --etcd-cert and --etcd-key", base)
	case u.Scheme == "http" && !local && !c.Insecure:
		return "", address, fmt.Errorf("%w: %s is plain http, and the token would be read on the way: give etcd TLS, or --insecure-etcd if the network is trusted", cluster.ErrUnsafe, base)
	}
	return base, address, nil
}

// open makes the transport. It follows no redirect and uses no proxy.
func (c *Client) open() {
	if c.Timeout <= 0 {
		c.Timeout = 3 * time.Second
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: c.Timeout}).DialContext
	}
	c.http = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext:     c.Dial,
			DialTLSContext:  func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dialTLS(ctx) },
			MaxConnsPerHost: 4, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second,
			DisableCompression: true, MaxResponseHeaderBytes: 16 << 10,
		},
	}
}

func (c *Client) dialTLS(ctx context.Context) (net.Conn, error) {
	t, ok := targetOf(ctx)
	if !ok {
		return nil, errors.New("a connection for no node")
	}
	config, err := c.TLS.client(t.node, t.address.Addr())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout) // it does not end with the question
	defer cancel()
	raw, err := c.Dial(ctx, "tcp", t.address.String())
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	return conn, nil
}

// Close ends the connections that are kept for the next question.
func (c *Client) Close() {
	c.once.Do(c.open)
	c.http.CloseIdleConnections()
}
