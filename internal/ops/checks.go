package ops

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// checks answers 200 while every check returns nil, else 503, with a line for each either way.
type checks struct {
	mu     sync.Mutex
	byName map[string]func() error
}

func (c *checks) add(name string, check func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byName[name] != nil {
		panic("ops: check " + name + " added twice")
	}
	if c.byName == nil {
		c.byName = map[string]func() error{}
	}
	c.byName[name] = check
}

func (c *checks) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	byName := maps.Clone(c.byName) // checks run without the lock: one that hangs must not hang add
	c.mu.Unlock()

	var out bytes.Buffer
	failed := 0
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if err := byName[name](); err != nil {
			failed++
			fmt.Fprintf(&out, "[-] %s: %s\n", name, oneLine(err))
			continue
		}
		fmt.Fprintf(&out, "[+] %s\n", name)
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if failed > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(&out, "failed: %d of %d\n", failed, len(byName))
	} else {
		fmt.Fprintln(&out, "ok")
	}
	_, _ = out.WriteTo(w)
}

// oneLine keeps a joined error from looking like another check's line.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
