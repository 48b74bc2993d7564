package ops

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/pprof"
	"regexp"
	"slices"
	"sync"
)

// PageFunc writes a debug page.
type PageFunc func(w io.Writer, r *http.Request) error

var pageForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)

// pages are the debug pages by name.
type pages struct {
	mu     sync.Mutex
	byName map[string]PageFunc
}

func (p *pages) add(name string, write PageFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !pageForm.MatchString(name) || name == "pprof" || p.byName[name] != nil {
		panic("ops: debug page " + name + " has a wrong or taken name")
	}
	if p.byName == nil {
		p.byName = map[string]PageFunc{}
	}
	p.byName[name] = write
}

func (p *pages) index(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	names := slices.Sorted(maps.Keys(p.byName))
	p.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, name := range names {
		fmt.Fprintf(w, "/debug/%s\n", name)
	}
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	write := p.byName[r.PathValue("name")]
	p.mu.Unlock()
	if write == nil {
		http.NotFound(w, r)
		return
	}
	// Into memory first: after the first byte to the client an error could not be told any more.
	var out bytes.Buffer
	if err := write(&out, r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType(out.Bytes()))
	_, _ = out.WriteTo(w)
}

func contentType(body []byte) string {
	trimmed := bytes.TrimSpace(body)
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') && json.Valid(trimmed) {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

// handlePprof does by hand what importing net/http/pprof does to the default mux, which nothing here serves.
func handlePprof(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
