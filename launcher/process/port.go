package process

import (
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
)

// port is what an instance listens on.
type port struct {
	proto  cluster.Proto
	number uint16
}

// claims are the ports of the instances of one launcher.
type claims struct {
	mu sync.Mutex
	of map[port]string
}

// claim takes all ports of an instance or none, and says who has one of them.
func (c *claims) claim(spec launcher.Spec) (taken port, by string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range portsOf(spec) {
		if owner, ok := c.of[p]; ok && owner != spec.ID {
			return p, owner
		}
	}
	for _, p := range portsOf(spec) {
		c.of[p] = spec.ID
	}
	return port{}, ""
}

func (c *claims) free(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, owner := range c.of {
		if owner == id {
			delete(c.of, p)
		}
	}
}

// portsOf are the ports of a Spec, each with its protocol.
func portsOf(spec launcher.Spec) (out []port) {
	for _, p := range spec.Ports {
		proto := p.Protocol
		if proto == 0 {
			proto = cluster.TCP
		}
		out = append(out, port{proto, p.Port})
	}
	return out
}

// claim takes the ports of an instance that does not run: among the launcher's own, and on the host.
func (d *Driver) claim(spec launcher.Spec) error {
	if p, owner := d.ports.claim(spec); owner != "" {
		return fmt.Errorf("instance %s: port %d/%s is that of instance %s: %w", spec.ID, p.number, p.proto, owner, launcher.Busy(p.number))
	}
	for _, p := range portsOf(spec) {
		busy, err := Busy(p.proto, p.number)
		if err != nil || busy {
			if err == nil {
				err = launcher.Busy(p.number)
			}
			return fmt.Errorf("instance %s: something else on this node listens on port %d/%s: %w", spec.ID, p.number, p.proto, err)
		}
	}
	return nil
}

// Busy says whether something on this host listens on a port, at any of its addresses. It binds the port for a moment and
// never listens, so that no connection can come its way.
func Busy(proto cluster.Proto, number uint16) (bool, error) {
	kind := unix.SOCK_STREAM
	if proto == cluster.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC, int(proto))
	var address unix.Sockaddr = &unix.SockaddrInet6{Port: int(number)}
	if errors.Is(err, unix.EAFNOSUPPORT) {
		fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, int(proto))
		address = &unix.SockaddrInet4{Port: int(number)}
	} else if err == nil {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0) // both families at once
	}
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		return false, nil // nobody can listen where there is no such protocol
	}
	if err != nil {
		return false, fmt.Errorf("look at port %d: %w", number, err)
	}
	defer unix.Close(fd)
	if kind == unix.SOCK_STREAM { // connections that have ended do not count
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return false, fmt.Errorf("look at port %d: %w", number, err)
		}
	}
	err = unix.Bind(fd, address)
	if errors.Is(err, unix.EADDRINUSE) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at port %d: %w", number, err)
	}
	return false, nil
}
