package hook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
)

// webhook is a hook that is asked over HTTP.
type webhook struct {
	url    string
	token  string
	client *http.Client
}

func newWebhook(c Config) *webhook {
	client := &http.Client{
		// What is moved elsewhere was not meant by the operator, who wrote down an address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if c.TLS != nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = c.TLS.Clone()
		client.Transport = transport
	}
	return &webhook{strings.TrimSuffix(c.URL, "/"), c.Token, client}
}

// checkURL refuses an address at which others could read the token and the instances' environment.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q is not the address of a hook: write https://HOST/PATH", plain.Line(text, 100))
	}
	address, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && err == nil && address.IsLoopback() {
		return nil
	}
	return fmt.Errorf("hook %s: plain http goes to a loopback address only: write https", plain.Line(text, 100))
}

func (w *webhook) call(ctx context.Context, what, key string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/"+what, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	if w.token != "" {
		r.Header.Set("Authorization", "Bearer "+w.token)
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", answer.Status, plain.Words(string(text), 500))
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("%w: %w: more than %d bytes", launcher.ErrUntrue, errTooLong, maxAnswer)
	}
	return text, nil
}
