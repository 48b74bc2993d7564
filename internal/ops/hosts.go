package ops

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// hosts are the extra names a request may call the server by, in lower case.
type hosts map[string]bool

func newHosts(names []string) hosts {
	h := hosts{"localhost": true}
	for _, n := range names {
		h[strings.ToLower(n)] = true
	}
	return h
}

// guard refuses requests whose Host header names somebody else. A browser sends the name the page was loaded from, so
// a foreign page that resolves to our address (DNS rebinding) gives itself away by it.
func (h hosts) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if !h.allow(r) {
			http.Error(w, "this host name is not served here", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h hosts) allow(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if h[strings.ToLower(strings.TrimSuffix(host, "."))] {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		return false
	}
	if addr.Unmap().IsLoopback() {
		return true
	}
	// The address this connection came in at: right for one listening address as well as for all of them.
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap() == addr.Unmap()
}
