package doctor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/rules/nft"
)

// Where says which host is looked at.
type Where struct {
	StateDir string // the agent's; "": it keeps none
	Root     string // of the files below /etc and of the list of processes; "": /
}

// Gather looks at the host, in the calling thread's network namespace. It changes nothing. What depends on etcd and on the
// driver is left to the caller.
func Gather(w Where) *Host {
	h := &Host{
		Links: Learned(links()), Sysctls: readSysctls(), Kernel: Learned(probeKernel()), Caps: Learned(capabilities()), Clock: Learned(readClock()),
		Neighbours: Learned(nft.Neighbours()), Legacy: Learned(legacyTables()), Processes: Learned(processes(w.Root)),
		Flushes: Learned(flushes(w.Root)), AgentRuns: Learned(agentListens()),
	}
	if w.StateDir != "" {
		h.State = Learned(lookAtStateDir(w.StateDir))
	}
	return h
}

func links() ([]Link, error) {
	found, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	ports := map[int]int{}
	for _, l := range found {
		ports[l.Attrs().MasterIndex]++
	}
	var out []Link
	for _, l := range found {
		a := l.Attrs()
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", a.Name, err)
		}
		link := Link{Name: a.Name, Kind: l.Type(), Up: a.RawFlags&unix.IFF_UP != 0, Ports: ports[a.Index]}
		for _, addr := range addrs {
			if ip, ok := netip.AddrFromSlice(addr.IP); ok {
				bits, _ := addr.Mask.Size()
				link.Addrs = append(link.Addrs, netip.PrefixFrom(ip.Unmap(), bits))
			}
		}
		out = append(out, link)
	}
	return out, nil
}

// probeKernel asks by making and deleting a table in one transaction, so that it never exists.
func probeKernel() (Kernel, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Kernel{}, fmt.Errorf("ask for the kernel's version: %w", err)
	}
	k := Kernel{Release: unix.ByteSliceToString(u.Release[:])}
	d, err := nft.New(nft.Options{Ownership: nft.OwnAuto})
	if err != nil {
		return k, err
	}
	k.Owns = d.Owning()
	return k, d.Close()
}

func capabilities() (uint64, error) {
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		return 0, fmt.Errorf("read own capabilities: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strconv.ParseUint(strings.TrimSpace(text), 16, 64)
		}
	}
	return 0, errors.New("read own capabilities: the kernel does not tell")
}

func readClock() (Clock, error) {
	t := unix.Timex{} // no modes: only looked at
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Clock{}, fmt.Errorf("ask for the clock's state: %w", err)
	}
	return Clock{Synchronised: state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0, Error: time.Duration(t.Maxerror) * time.Microsecond}, nil
}

// legacyTables are those of iptables-legacy for both families. /proc/net shows the namespace of the process's first
// thread, which need not be ours.
func legacyTables() (out []string, err error) {
	for _, name := range []string{"ip_tables_names", "ip6_tables_names"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // not loaded
		}
		if err != nil {
			return nil, fmt.Errorf("list tables of iptables-legacy: %w", err)
		}
		out = append(out, strings.Fields(string(text))...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func processes(root string) (out []string, err error) {
	found, err := filepath.Glob(filepath.Join("/", root, "proc/[0-9]*/comm"))
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	for _, path := range found {
		if name, err := os.ReadFile(path); err == nil { // it may have ended meanwhile
			out = append(out, strings.TrimSpace(string(name)))
		}
	}
	return out, nil
}

// agentListens says whether the lock of an agent is held. It does not take the lock: an agent that starts in this moment
// would be turned away.
func agentListens() (bool, error) {
	text, err := os.ReadFile("/proc/thread-self/net/unix")
	if err != nil {
		return false, fmt.Errorf("list sockets: %w", err)
	}
	return bytes.Contains(text, []byte(" @weir-agent\n")), nil
}

func lookAtStateDir(path string) (StateDir, error) {
	d := StateDir{Path: path}
	info, err := os.Stat(path) // systemd makes it a link
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return d, fmt.Errorf("look at the state directory: %w", err)
	}
	d.Exists, d.Mode, d.Directory = true, uint32(info.Mode().Perm()), info.IsDir()
	if !d.Directory {
		return d, nil
	}
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return d, fmt.Errorf("look at the file system of %s: %w", path, err)
	}
	d.ReadOnly, d.Free = s.Flags&unix.ST_RDONLY != 0, s.Bavail*uint64(s.Bsize)
	d.File = agent.CheckSnapshotFile(path)
	return d, nil
}

// maxConfBytes bounds what is read of one file of nftables.
const maxConfBytes = 4 << 20

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxConfBytes))
}
