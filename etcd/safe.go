package etcd

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// safe refuses an etcd that others could read, write or pretend to be: whoever writes to it decides where the traffic
// of every node goes.
func (c Config) safe() error {
	if len(c.Endpoints) == 0 {
		return errors.New("no endpoint is given: name at least one, as in https://etcd-1:2379")
	}
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("a client certificate needs both files, certificate and key")
	}
	secure := 0
	for _, endpoint := range c.Endpoints {
		https, local, err := classify(endpoint)
		if err != nil {
			return err
		}
		if https {
			secure++
		}
		switch {
		case local || c.Insecure:
		case !https:
			return fmt.Errorf("%w: endpoint %s is plain http to another host: use https, or --insecure-etcd if the network is trusted", cluster.ErrUnsafe, printable(endpoint))
		case c.Cert == "" && c.User == "":
			return fmt.Errorf("%w: endpoint %s without authentication: give a client certificate or a user with password, or --insecure-etcd", cluster.ErrUnsafe, printable(endpoint))
		}
	}
	if secure != 0 && secure != len(c.Endpoints) {
		return errors.New("some endpoints are https and some are not: use one kind")
	}
	if secure == 0 && (c.Cert != "" || c.CA != "") {
		return errors.New("certificates are given, but no endpoint is https: they would not be used")
	}
	return nil
}

// classify says whether an endpoint is encrypted, and whether it never leaves this host.
func classify(endpoint string) (https, local bool, err error) {
	if path, ok := strings.CutPrefix(endpoint, "unix://"); ok && strings.HasPrefix(path, "/") {
		return false, true, nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Port() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false, false, fmt.Errorf("endpoint %s: want https://HOST:PORT, http://HOST:PORT or unix:///PATH", printable(endpoint))
	}
	ip := net.ParseIP(u.Hostname())
	// "localhost" is looked up like any name, but only this host's own administrator decides what it means.
	return u.Scheme == "https", u.Hostname() == "localhost" || ip != nil && ip.IsLoopback(), nil
}

// Encrypted says whether etcd is reached by TLS.
func (c Config) Encrypted() bool { return len(c.Endpoints) > 0 && c.tls() }

// Local says whether no endpoint leaves this host.
func (c Config) Local() bool {
	for _, endpoint := range c.Endpoints {
		if _, local, err := classify(endpoint); err != nil || !local {
			return false
		}
	}
	return len(c.Endpoints) > 0
}

func (c Config) tls() bool { return strings.HasPrefix(c.Endpoints[0], "https://") }

func (c Config) files() files { return files{ca: c.CA, cert: c.Cert, key: c.Key} }
