package doctor

import (
	"errors"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/plain"
)

func capability(h *Host) ([]Finding, error) {
	caps, err := h.Caps.get()
	if err != nil || caps>>unix.CAP_NET_ADMIN&1 == 1 {
		return nil, err
	}
	return one(Warn, "the kernel shows its rules, and lets them be changed, only with it; an agent without it changes nothing",
		"run as root; or, under systemd, AmbientCapabilities=CAP_NET_ADMIN", "this process lacks CAP_NET_ADMIN"), nil
}

func kernel(h *Host) ([]Finding, error) {
	k, err := h.Kernel.get()
	if err != nil {
		return nil, err
	}
	major, minor := version(k.Release)
	switch {
	case major < 5 || major == 5 && minor < 9:
		return one(Warn, "kernels before 5.9 cannot refuse a connection where Weir does: what has no instance is answered by silence, or the rules are not taken",
			"use a kernel of 6.1 or newer", "the kernel is %s", k.Release), nil
	case !k.Owns:
		return one(Note, "other programs can change Weir's rules: the agent notices and repairs, instead of the kernel refusing (Linux 6.9 and newer do)",
			"none is needed", "the kernel %s has no tables that belong to a process", k.Release), nil
	}
	return nil, nil
}

// version is the beginning of a release: 6.18.44-fc is 6, 18.
func version(release string) (major, minor int) {
	first, rest, _ := strings.Cut(release, ".")
	major, _ = strconv.Atoi(first)
	minor, _ = strconv.Atoi(rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))])
	return major, minor
}

func clock(h *Host) ([]Finding, error) {
	c, err := h.Clock.get()
	if err != nil || c.Synchronised {
		return nil, err
	}
	return one(Note, "times in logs and in etcd, and certificates' dates, are judged by it; no traffic depends on it", "run chrony or systemd-timesyncd; where the host does that for a container or VM, nothing",
		"the system clock is not synchronised"), nil
}

// minFree is what a large snapshot file takes twice, since a new one is written beside the old one.
const minFree = 64 << 20

func stateDir(h *Host) (out []Finding, err error) {
	d, err := h.State.get()
	if err != nil || d.Path == "" {
		return nil, err
	}
	const why = "without the snapshot file a start while etcd is away finds nothing"
	switch {
	case !d.Exists:
		return one(Note, why, "none is needed where an agent never ran: it makes the directory", "%s does not exist", d.Path), nil
	case !d.Directory:
		return one(Fail, why, "remove it, and mkdir -m 0700 "+d.Path, "%s is no directory", d.Path), nil
	case d.Mode&0o022 != 0:
		out = append(out, one(Warn, "whoever writes there decides where connections go after a start without etcd", "chmod 0700 "+d.Path, "%s can be written by others (mode %04o)", d.Path, d.Mode)...)
	case d.Mode&0o077 != 0:
		out = append(out, one(Note, "others can list what the node knows of the cluster's files", "chmod 0700 "+d.Path, "%s has mode %04o", d.Path, d.Mode)...)
	}
	if d.ReadOnly {
		out = append(out, one(Warn, why, "mount it writable, or name another directory with --state-dir", "%s is read-only", d.Path)...)
	} else if d.Free < minFree {
		out = append(out, one(Warn, why, "make room", "%s has %d MiB left", d.Path, d.Free>>20)...)
	}
	if d.File != nil {
		out = append(out, one(Warn, why, "remove it, once etcd answers; the agent writes a new one", "the snapshot file cannot be used: %v", d.File)...)
	}
	return out, nil
}

func agentRuns(h *Host) ([]Finding, error) {
	runs, err := h.AgentRuns.get()
	if err != nil || runs {
		return nil, err
	}
	return one(Fail, "nobody keeps this node's rules equal to what is published", "systemctl start weir-agent; its log says why it ended: journalctl -u weir-agent", "no agent runs in this network namespace"), nil
}

func etcdOfNode(h *Host) ([]Finding, error) {
	_, err := h.Snapshot.get()
	if err == nil {
		return nil, nil
	}
	return one(Fail, "the agent works from what it knows; what is published since does not reach this node", "weir doctor, with the same --etcd flags, looks closer", "etcd cannot be read from here: %v", err), nil
}

func rulesOfNode(h *Host) ([]Finding, error) {
	r, err := h.Rules.get()
	if err == nil && r.Plan == nil {
		err = errors.New("there is nothing to compare with, since etcd cannot be read")
	}
	if err != nil || r.Plan.Empty() {
		return nil, err
	}
	var first string
	for line := range strings.Lines(r.Plan.String()) {
		first = strings.TrimSpace(line)
		break
	}
	return one(Fail, "connections from here may go to the wrong place, or nowhere", "weir rules diff shows them; the agent's log says why it does not write them",
		"the kernel lacks or has too many of %s, as \"%s\"", plain.Plural(r.Plan.Writes(), "object"), first), nil
}

func routesOfNode(h *Host) (out []Finding, err error) {
	faults, err := h.Routes.get()
	if err != nil {
		return nil, err
	}
	for _, f := range faults[:min(few, len(faults))] {
		out = append(out, one(Fail, "clients on this node do not reach the VIP through Weir's rules", f.Fix, "the route to %s: %s", f.Prefix, f.What)...)
	}
	if more := len(faults) - few; more > 0 {
		out = append(out, one(Fail, "clients on this node do not reach these VIPs", "as for the others", "%s more lack their route", plain.Plural(more, "VIP"))...)
	}
	return out, nil
}
