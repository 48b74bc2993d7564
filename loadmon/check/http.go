package check

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

const (
	maxHead        = 64 << 10 // bytes of status line and headers
	maxPreliminary = 5        // answers of status 1xx before the real one
)

// probeHTTP asks once. The library's client is not used: it keeps connections and two goroutines for each, and follows what we
// would have to forbid.
func probeHTTP(ctx context.Context, t task) Outcome {
	conn, end, err := dial(ctx, t.address)
	if err != nil {
		return failed(ctx, err, t.timeout())
	}
	defer end()
	if s := t.check.HTTP.TLS; s != nil {
		conn = tls.Client(conn, tlsConfig(s, t.address.Addr(), "http/1.1"))
	}
	if _, err := conn.Write(t.ask()); err != nil {
		return failed(ctx, err, t.timeout())
	}
	return hearHTTP(ctx, t, conn)
}

// hearHTTP reads a bounded part of the answer.
func hearHTTP(ctx context.Context, t task, from io.Reader) Outcome {
	limited := &io.LimitedReader{R: from, N: maxHead}
	in := bufio.NewReader(limited)
	response, err := answer(in)
	if err != nil {
		if limited.N == 0 {
			return Outcome{Kind: Bad, Reason: fmt.Sprintf("the headers of its answer are longer than %d bytes", maxHead)}
		}
		o := failed(ctx, err, t.timeout())
		if strings.HasPrefix(o.Reason, "malformed ") { // with all that it quotes, which may be anything
			o.Reason, o.Output = "its answer is no HTTP", o.Reason
		}
		return o
	}
	limited.N = 8 * cluster.MaxCheckBody // a body in chunks of one byte is six times as long on the wire
	return judge(ctx, t, response)
}

// request is the text of the question. Validation saw to it that path, host and headers are printable and of one line.
func request(t task) string {
	h := t.check.HTTP
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", h.Path, cmp.Or(h.Host, t.address.String()))
	if !slices.ContainsFunc(slices.Collect(maps.Keys(h.Headers)), func(k string) bool { return strings.EqualFold(k, "User-Agent") }) {
		b.WriteString("User-Agent: weir-check\r\n")
	}
	for _, name := range slices.Sorted(maps.Keys(h.Headers)) {
		fmt.Fprintf(&b, "%s: %s\r\n", name, h.Headers[name])
	}
	b.WriteString("\r\n")
	return b.String()
}

func answer(in *bufio.Reader) (*http.Response, error) {
	for range maxPreliminary + 1 {
		r, err := http.ReadResponse(in, &http.Request{Method: http.MethodGet})
		if err != nil {
			return nil, err
		}
		if r.StatusCode >= 200 || r.StatusCode == http.StatusSwitchingProtocols {
			return r, nil
		}
	}
	return nil, fmt.Errorf("more than %d preliminary answers", maxPreliminary)
}

func judge(ctx context.Context, t task, r *http.Response) Outcome {
	h := t.check.HTTP
	body := io.LimitReader(r.Body, cluster.MaxCheckBody)
	from, to := cluster.StatusRange(h.Status)
	if r.StatusCode < from || r.StatusCode > to {
		head := make([]byte, 4*cluster.MaxOutput)
		n, _ := io.ReadFull(body, head) // whatever came in time is shown
		return Outcome{Kind: Bad, Reason: fmt.Sprintf("status %d, want %s", r.StatusCode, h.Status), Output: line(string(head[:n]))}
	}
	if h.Contains == "" {
		return Outcome{Kind: Good}
	}
	found, head, err := contains(body, h.Contains)
	switch {
	case found:
		return Outcome{Kind: Good}
	case err != nil:
		o := failed(ctx, err, t.timeout())
		o.Output = line(string(head))
		return o
	}
	return Outcome{Kind: Bad, Reason: line(fmt.Sprintf("the first %d KiB of its answer do not contain %q", cluster.MaxCheckBody>>10, h.Contains)), Output: line(string(head))}
}

// contains searches a stream with a small window, and gives its beginning.
func contains(in io.Reader, text string) (found bool, head []byte, err error) {
	window := make([]byte, 0, 4096+len(text))
	for {
		n, err := in.Read(window[len(window):cap(window)])
		window = window[:len(window)+n]
		if missing := 4*cluster.MaxOutput - len(head); missing > 0 && n > 0 {
			head = append(head, window[len(window)-n:][:min(n, missing)]...)
		}
		switch {
		case bytes.Contains(window, []byte(text)):
			return true, head, nil
		case err == io.EOF:
			return false, head, nil
		case err != nil:
			return false, head, err
		}
		if keep := min(len(text)-1, len(window)); len(window) > keep {
			window = window[:copy(window, window[len(window)-keep:])]
		}
	}
}
