package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

var namespaceForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// Namespace is one machine of the lab.
type Namespace struct {
	lab    *Lab
	name   string
	fd     netns.NsHandle
	handle *netlink.Handle
}

// Namespace adds a machine: a new network namespace whose loopback is up and which has nothing else.
func (l *Lab) Namespace(name string) (*Namespace, error) {
	if !namespaceForm.MatchString(name) {
		return nil, fmt.Errorf("namespace name %q: want a-z, 0-9 and dashes", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	ns := &Namespace{lab: l, name: l.prefix + "-" + name, fd: netns.None()}
	if err := ns.create(); err != nil {
		return nil, errors.Join(fmt.Errorf("namespace %s: %w", ns.name, err), ns.discard())
	}
	l.namespaces = append(l.namespaces, ns)
	return ns, nil
}

func (ns *Namespace) create() error {
	if _, err := os.Lstat(ns.Path()); err == nil {
		ns.name = "" // somebody else's: discard must not remove it
		return os.ErrExist
	}
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return wrap("unshare", err)
		}
		return mountName(ns.name)
	})
	if err != nil {
		return err
	}
	if ns.fd, err = netns.GetFromPath(ns.Path()); err != nil {
		return err
	}
	if ns.handle, err = netlink.NewHandleAt(ns.fd); err != nil {
		return wrap("netlink", err)
	}
	lo, err := ns.handle.LinkByName("lo")
	if err != nil {
		return wrap("find lo", err)
	}
	if err := ns.handle.LinkSetUp(lo); err != nil {
		return wrap("set lo up", err)
	}
	// Without duplicate address detection an IPv6 address, link-local ones included, is usable at once.
	return errors.Join(ns.Sysctl("net.ipv6.conf.all.accept_dad", "0"), ns.Sysctl("net.ipv6.conf.default.accept_dad", "0"))
}

// Name returns the full name, as `ip netns exec` wants it.
func (ns *Namespace) Name() string { return ns.name }

// Path returns the file that stands for the namespace.
func (ns *Namespace) Path() string { return filepath.Join(runDir, ns.name) }

// Netns returns the open namespace; it belongs to the lab and must not be closed.
func (ns *Namespace) Netns() netns.NsHandle { return ns.fd }

// Handle returns a netlink handle inside the namespace; it belongs to the lab and must not be closed.
func (ns *Namespace) Handle() *netlink.Handle { return ns.handle }

// Do runs fn on a thread that is inside the namespace. Sockets and processes that fn makes stay inside; goroutines that
// it starts are outside.
func (ns *Namespace) Do(fn func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(ns.fd); err != nil {
			return fmt.Errorf("enter %s: %w", ns.name, err)
		}
		return fn()
	})
}

// onOwnThread runs fn on a thread whose namespace fn may change, and puts the thread back. A thread that cannot go
// back is never unlocked: it ends together with its goroutine instead of carrying on other goroutines in a wrong
// namespace, which is why fn has a goroutine of its own.
func onOwnThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		finished := false
		defer func() {
			if !finished { // runtime.Goexit: t.FailNow inside fn. The waiting side must not hang.
				done <- errors.New("left the namespace without returning")
			}
		}()
		err := inOwnNamespace(fn)
		finished = true
		done <- err
	}()
	return <-done
}

func inOwnNamespace(fn func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		return wrap("remember the namespace", err)
	}
	defer func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		home.Close()
	}()
	return fn()
}

// Listen announces on an address of the namespace. It is plain TCP: Go's default, MPTCP, answers some faults otherwise.
func (ns *Namespace) Listen(network, address string) (net.Listener, error) {
	var ln net.Listener
	err := ns.Do(func() (err error) {
		var c net.ListenConfig
		c.SetMultipathTCP(false)
		ln, err = c.Listen(context.Background(), network, address)
		return err
	})
	return ln, err
}

// ListenPacket announces on a datagram address of the namespace.
func (ns *Namespace) ListenPacket(network, address string) (net.PacketConn, error) {
	var pc net.PacketConn
	err := ns.Do(func() (err error) {
		pc, err = net.ListenPacket(network, address)
		return err
	})
	return pc, err
}

// Dial connects from inside the namespace. The address must be an IP and port: names are resolved outside.
func (ns *Namespace) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := ns.Do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Sysctl sets a kernel parameter of the namespace, written with dots as sysctl does: net.ipv4.ip_forward. Only net.*
// belongs to a namespace, so everything else is refused: it would change the host.
func (ns *Namespace) Sysctl(key, value string) error {
	if !strings.HasPrefix(key, "net.") || strings.ContainsAny(key, "/ ") {
		return fmt.Errorf("sysctl %q: not a net.* key", key)
	}
	path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
	return ns.Do(func() error {
		// /proc/sys/net shows the namespace of the thread that opens the file, and that is ours here.
		return os.WriteFile(path, []byte(value), 0)
	})
}

// remove ends the namespace and whatever runs in it.
func (ns *Namespace) remove() error {
	return errors.Join(demolish(ns.name), ns.release())
}

// discard is remove for a namespace that was never finished.
func (ns *Namespace) discard() error {
	if ns.name == "" {
		return nil
	}
	return errors.Join(unmountName(ns.name), ns.release())
}

func (ns *Namespace) release() error {
	if ns.handle != nil {
		ns.handle.Close()
	}
	if ns.fd.IsOpen() {
		return ns.fd.Close()
	}
	return nil
}
