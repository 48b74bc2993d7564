package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// ReportAddress is where a load monitor hears the instances of its host, unless it was told otherwise.
var ReportAddress = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 9645)

// ReportPath is where instances report themselves: POST ReportPath + SERVICE/ID with a Word.
const ReportPath = "/v1/report/"

const maxReport = 16 << 10

// Teller takes up the words of instances.
type Teller interface{ Tell(ID, Word) error }

// Reports takes the reports of this host's instances. It answers callers on loopback alone, and any of them: whoever may run a
// program on the host may speak for its instances. A web page may not: a browser names the page's host, and asks first before
// it sends JSON elsewhere.
func Reports(to Teller) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+ReportPath+"{service}/{id}", func(w http.ResponseWriter, r *http.Request) {
		word, code, err := readWord(w, r)
		if err == nil {
			id := ID{r.PathValue("service"), r.PathValue("id")}
			switch err = to.Tell(id, word); {
			case errors.Is(err, ErrUnknown):
				code = http.StatusNotFound
			case err != nil:
				code = http.StatusBadRequest
			}
		}
		if err != nil {
			http.Error(w, line(err.Error()), code)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// readWord refuses what does not come from this host, or not from a program.
func readWord(w http.ResponseWriter, r *http.Request) (word Word, code int, err error) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() || !loopback(r.Host) {
		return word, http.StatusForbidden, errors.New("only instances of this host report here: ask 127.0.0.1 by that address")
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return word, http.StatusUnsupportedMediaType, errors.New(`send {"state":"ok"} with Content-Type: application/json`)
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if err != nil {
		return word, http.StatusRequestEntityTooLarge, fmt.Errorf("read the report: %w", err)
	}
	if err := json.Unmarshal(text, &word); err != nil {
		return word, http.StatusBadRequest, errors.New("the report cannot be read: " + plain.JSON(text, err))
	}
	return word, 0, nil
}

func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	addr, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && addr.IsLoopback()
}

// reportPatience is how long a Report may take.
const reportPatience = 5 * time.Second

// Report tells the word of an instance to the load monitor of this host.
func Report(ctx context.Context, monitor netip.AddrPort, id ID, w Word) error {
	ctx, cancel := context.WithTimeout(ctx, reportPatience)
	defer cancel()
	text, err := json.Marshal(w)
	if err != nil {
		return err
	}
	u := "http://" + monitor.String() + ReportPath + url.PathEscape(id.Service) + "/" + url.PathEscape(id.Instance)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // no proxy either: this is said to this host
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("the load monitor of this host is not reached at %s: %w: is weir agent running, with that --report-listen?", monitor, unwrapped(err))
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusNoContent {
		return nil
	}
	why, _ := io.ReadAll(io.LimitReader(answer.Body, 4*cluster.MaxOutput))
	return fmt.Errorf("the load monitor refuses the report (%s): %s", line(answer.Status), line(string(why)))
}

// unwrapped leaves out the address and the verb, which the message has already.
func unwrapped(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
