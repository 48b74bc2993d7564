package words

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/weir-lb/weir/internal/plain"
)

// ErrAway says that the launcher does not answer.
var ErrAway = errors.New("the launcher of this host is not reached")

const patience = 5 * time.Second

// Say says a word, "ask" or "fail", as the instance that was given this URL and token.
func Say(ctx context.Context, at, token, word string, w Word) error {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" || !loopback(u.Host) {
		return fmt.Errorf("%s is no address of this host's launcher: it is given to each launched instance as $WEIR_URL", plain.Line(at, 80))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at+"/"+word, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // no proxy either: this is said to this host
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("%w at %s: %w", ErrAway, plain.Line(u.URL, 200), err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNoContent {
		return nil
	}
	why, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	return fmt.Errorf("the launcher refuses it (%s): %s", plain.Line(answer.Status, 80), plain.Words(string(why), 500))
}

func loopback(host string) bool {
	at, err := netip.ParseAddrPort(host)
	return err == nil && at.Addr().Unmap().IsLoopback()
}
