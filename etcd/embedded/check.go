package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
)

// ErrExposed says that other hosts could reach the server without TLS, or without saying who they are.
var ErrExposed = errors.New("other hosts could reach it")

// Check reports every mistake that can be found before anything is opened. What would let strangers in is ErrExposed.
func (m Member) Check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if m.Name == "" {
		fail("an etcd member needs a name")
	}
	if m.Dir == "" {
		fail("an etcd member needs a data directory")
	}
	if len(m.Clients) == 0 {
		fail("an etcd member needs a URL to listen on for clients")
	}
	for _, text := range m.Clients {
		errs = append(errs, m.checkListener("clients", text, m.ClientTLS))
	}
	for _, text := range m.advertised() {
		if u, err := address(text); err != nil {
			errs = append(errs, fmt.Errorf("tell clients: %w", err))
		} else if ip := net.ParseIP(u.Hostname()); ip != nil && ip.IsUnspecified() {
			fail("clients would be told %s, which is no address: give --advertise-client-urls", text)
		}
	}
	errs = append(errs, unused("clients", m.ClientTLS, m.Clients...))
	return errors.Join(append(errs, m.checkCluster()...)...)
}

func (m Member) checkCluster() (errs []error) {
	if len(m.Cluster) == 0 {
		return nil
	}
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	seen, hosts, here := map[string]bool{}, map[string]string{}, 0
	for _, p := range m.Cluster {
		u, err := address(p.URL)
		if err != nil || u.Scheme == "unix" {
			fail("the peer URL of %s: want http://HOST:PORT or https://HOST:PORT, got %q", p.Name, p.URL)
			continue
		}
		if seen[p.Name] {
			fail("member %s is in the list of members twice", p.Name)
		}
		if other := hosts[p.URL]; other != "" {
			fail("members %s and %s have the same URL %s", other, p.Name, p.URL)
		}
		seen[p.Name], hosts[p.URL] = true, p.Name
		if local(u) {
			here++
		}
		if mine, err := address(m.own()); err == nil && u.Scheme != mine.Scheme {
			fail("some members talk to each other by http and some by https: use one kind")
			return errs
		}
	}
	if !seen[m.Name] && len(errs) == 0 {
		fail("%s is not in the list of members %s: it is the name of one of them, given by --name", m.Name, initialCluster(m.Cluster))
		return errs
	}
	if here > 0 && here < len(m.Cluster) {
		fail("some members are on loopback and some are not: no other host reaches the former")
	}
	if len(errs) > 0 {
		return errs
	}
	return []error{m.checkListener("peers", cmp.Or(m.Peers, m.own()), m.PeerTLS), unused("peers", m.PeerTLS, cmp.Or(m.Peers, m.own()))}
}

// checkListener says whether a listener, once open, lets in only whom it should. Users with passwords are no reason to do without
// a CA: a new data directory asks nobody until authentication is enabled.
func (m Member) checkListener(who, text string, f Files) error {
	u, err := address(text)
	if err != nil {
		return fmt.Errorf("listen for %s: %w", who, err)
	}
	if u.Scheme == "https" && (f.Cert == "" || f.Key == "") {
		return fmt.Errorf("%s for %s needs a certificate and its key", text, who)
	}
	switch {
	case local(u) || m.Insecure:
	case u.Scheme == "http":
		return fmt.Errorf("%w: %s listens for %s by plain http: use https with certificates", ErrExposed, text, who)
	case f.CA == "":
		return fmt.Errorf("%w: %s lets in %s that show no certificate: name the CA that signs theirs", ErrExposed, text, who)
	}
	return nil
}

// unused says that certificates are given and nothing is https.
func unused(who string, f Files, urls ...string) error {
	if (f == Files{}) || slices.ContainsFunc(urls, func(text string) bool { return strings.HasPrefix(text, "https:") }) {
		return nil
	}
	return fmt.Errorf("certificates for %s are given, but %s is not https: they would not be used", who, strings.Join(urls, ","))
}

// address reads http(s)://HOST:PORT or unix:///PATH.
func address(text string) (url.URL, error) {
	u, err := url.Parse(text)
	if err == nil && u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/") {
		return *u, nil
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return url.URL{}, fmt.Errorf("want http://HOST:PORT, https://HOST:PORT or unix:///PATH, got %q", text)
	}
	return *u, nil
}

// ParseCluster reads NAME=URL,NAME=URL, as etcd's --initial-cluster has it. A name that is there twice is left for Check.
func ParseCluster(text string) ([]Peer, error) {
	var out []Peer
	for _, part := range strings.Split(text, ",") {
		name, u, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || name == "" || u == "" {
			return nil, fmt.Errorf("%q is no member: want NAME=URL, and commas between members", part)
		}
		out = append(out, Peer{name, strings.TrimSuffix(u, "/")})
	}
	return out, nil
}

// initialCluster writes what ParseCluster reads, by name.
func initialCluster(peers []Peer) string {
	var parts []string
	for _, p := range peers {
		parts = append(parts, p.Name+"="+p.URL)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}
