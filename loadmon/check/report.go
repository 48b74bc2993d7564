package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
)

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
		return word, http.StatusBadRequest, fmt.Errorf("read the report: %w", err)
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
