package monitor

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
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
	"github.com/weir-lb/weir/loadmon"
)

// ErrNone says that a node has no load monitor.
var ErrNone = errors.New("no load monitor runs there")

// ErrNoToken says that nobody has made the token yet.
var ErrNoToken = errors.New("there is no token in ops/secret yet: the leader makes it (weir controlcenter serve)")

// Client asks nodes' load monitors. It is safe for concurrent use; nothing is opened before the first question.
type Client struct {
	Token    func(context.Context) (string, error) // of ops/secret; "": there is none
	TLS      *Credential                           // nil: etcd is not reached by TLS
	Insecure bool                                  // plain http to other hosts is accepted
	Loopback bool                                  // etcd never leaves this host, so the nodes' loopback is this host's
	Timeout  time.Duration                         // of one question. Default 3 s

	// Dial connects to a node; nil: from where this process stands.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	once  sync.Once
	http  *http.Client
	mu    sync.Mutex
	token string // that was read last
	read  time.Time
}

// Loads asks a node for its loads. Problems are loads that could not be read.
func (c *Client) Loads(ctx context.Context, name string, n *cluster.Node) (report loadmon.Report, problems []cluster.Problem, err error) {
	err = c.ask(ctx, question{name, n, http.MethodGet, "/v1/load", nil}, func(body io.Reader) (err error) {
		report, problems, err = loadmon.ReadReport(body)
		return err
	})
	return report, problems, err
}

// Look has a node connect to addresses of instances, at most MaxLook, and says which answered. What the node does not know
// as an instance's address is not in the answer.
func (c *Client) Look(ctx context.Context, name string, n *cluster.Node, addresses []netip.AddrPort) (map[netip.AddrPort]bool, error) {
	if len(addresses) > MaxLook {
		return nil, fmt.Errorf("look from node %s: %d addresses are more than %d", name, len(addresses), MaxLook)
	}
	body, err := json.Marshal(Look{addresses})
	if err != nil {
		return nil, fmt.Errorf("look from node %s: %w", name, err)
	}
	var seen Seen
	err = c.ask(ctx, question{name, n, http.MethodPost, "/v1/look", body}, func(body io.Reader) error {
		return json.NewDecoder(io.LimitReader(body, maxAnswer)).Decode(&seen)
	})
	if err != nil {
		return nil, err
	}
	answers := make(map[netip.AddrPort]bool, len(addresses))
	for _, address := range addresses { // nothing else was asked
		if answered, told := seen.Answers[address]; told {
			answers[address] = answered
		}
	}
	return answers, nil
}

const (
	maxAnswer  = 64 << 10 // of a look
	maxRefusal = 256      // of what a monitor says that does not do what it was asked
)

// question is one request to one node.
type question struct {
	name   string
	node   *cluster.Node
	method string
	path   string
	body   []byte
}

func (c *Client) ask(ctx context.Context, q question, read func(io.Reader) error) error {
	c.once.Do(c.open)
	base, address, err := c.reachable(q.node)
	if err != nil {
		return fmt.Errorf("ask the load monitor of node %s: %w", q.name, err)
	}
	ctx, cancel := context.WithTimeout(withTarget(ctx, target{q.name, address}), c.Timeout)
	defer cancel()
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
	if err != nil {
		return fmt.Errorf("ask the load monitor of node %s at %s: %w", q.name, base, plainURL(err))
	}
	return nil
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

func (c *Client) send(ctx context.Context, q question, base, token string, read func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, q.method, base+q.path, bytes.NewReader(q.body))
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
		return &refusal{answer.StatusCode, printable(text)}
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

// reachable is where a node's monitor answers, if that is an address of the node and of nobody else.
func (c *Client) reachable(n *cluster.Node) (base string, address netip.AddrPort, err error) {
	if n == nil || n.Monitor == "" {
		return "", address, ErrNone
	}
	u, err := url.Parse(n.Monitor)
	if err == nil {
		address, err = netip.ParseAddrPort(u.Host)
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || address.Port() == 0 || *u != (url.URL{Scheme: u.Scheme, Host: u.Host}) {
		return "", address, fmt.Errorf("its record gives it as %s: want http(s)://ADDRESS:PORT", printable([]byte(n.Monitor)))
	}
	base = u.Scheme + "://" + address.String()
	local := address.Addr().IsLoopback()
	switch {
	case local && !c.Loopback:
		return "", address, fmt.Errorf("it listens on %s of its node only: give that agent --load-listen, and etcd TLS", base)
	case !local && (!slices.Contains(n.Addresses, address.Addr()) || (*cluster.Config)(nil).RefuseInstance(address.Addr(), "") != ""):
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
	plain, err := c.Dial(ctx, "tcp", t.address.String())
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = plain.Close()
		return nil, err
	}
	return conn, nil
}

// Close ends the connections that are kept for the next question.
func (c *Client) Close() {
	c.once.Do(c.open)
	c.http.CloseIdleConnections()
}
