package doctor

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-lb/weir/etcd"
)

func endpoints(c *Cluster) (out []Finding, err error) {
	for _, e := range c.Etcd.Endpoints {
		if e.Err == nil {
			continue
		}
		out = append(out, one(Fail, "whoever asks it waits, and turns to the next; what is left of etcd may not survive the next loss", "see that etcd runs there, and that this host may reach it: etcdctl --endpoints "+e.URL+" endpoint health",
			"%s does not answer: %v", e.URL, e.Err)...)
	}
	return out, nil
}

// answering are the members that told of themselves, each once.
func (c *Cluster) answering() (out []etcd.Endpoint) {
	for _, e := range c.Etcd.Endpoints {
		if e.Err == nil && !slices.ContainsFunc(out, func(o etcd.Endpoint) bool { return o.Member == e.Member }) {
			out = append(out, e)
		}
	}
	return out
}

func alarms(c *Cluster) (out []Finding, err error) {
	for _, e := range c.answering() {
		for _, a := range e.Alarms {
			switch {
			case strings.Contains(a, "NOSPACE"):
				out = append(out, one(Fail, "etcd takes no more writes: nothing can be published, and no node can report. What is installed goes on",
					"etcdctl compact REVISION && etcdctl defrag --cluster, or raise --quota-backend-bytes; then: etcdctl alarm disarm", "%s: out of space (%s)", e.URL, a)...)
			case strings.Contains(a, "CORRUPT"):
				out = append(out, one(Fail, "members disagree on what is published: nodes may differ", "replace that member by a fresh one (etcdctl member remove, member add); only then: etcdctl alarm disarm",
					"%s: its data is damaged (%s)", e.URL, a)...)
			default:
				out = append(out, one(Fail, "etcd itself says that something is wrong", "see etcd's log on that host", "%s: %s", e.URL, a)...)
			}
		}
	}
	return out, nil
}

func members(c *Cluster) ([]Finding, error) {
	if c.Etcd.MembersErr != nil {
		return nil, c.Etcd.MembersErr
	}
	var out []Finding
	voters, answered := 0, map[uint64]bool{}
	for _, e := range c.answering() {
		answered[e.Member] = true
		if e.Leader == 0 {
			out = append(out, one(Fail, "without a majority nothing can be published; what is installed goes on", "bring the other members back: etcdctl endpoint status --cluster", "%s knows no leader", e.URL)...)
		}
	}
	for _, m := range c.Etcd.Members {
		if !m.Learner {
			voters++
		}
		if !answered[m.ID] && !unreachableFromHere(m) {
			out = append(out, one(Warn, "the next loss may cost the majority", "start it; or, if it is gone for good, etcdctl member remove "+strconv.FormatUint(m.ID, 16), "member %s does not answer", m)...)
		}
	}
	switch {
	case voters == 1:
		out = append(out, one(Note, "while that host is away nothing can be published; the nodes go on", "etcdctl member add, up to three", "etcd has one member")...)
	case voters > 1 && voters%2 == 0:
		out = append(out, one(Warn, fmt.Sprintf("%d members survive no more losses than %d, and every write costs more", voters, voters-1), "add one or remove one", "etcd has an even number of members: %d", voters)...)
	}
	return out, nil
}

// unreachableFromHere: a member that tells clients only an address of its own host cannot be asked, nor blamed.
func unreachableFromHere(m etcd.Member) bool {
	for _, text := range m.URLs {
		if u, err := url.Parse(text); err == nil && u.Hostname() != "localhost" && !strings.HasPrefix(u.Hostname(), "127.") && u.Hostname() != "::1" && u.Hostname() != "" {
			return false
		}
	}
	return true
}

// caredFor are the first versions of each line without known data loss or security holes.
var caredFor = map[string]int{"3.5": 30, "3.6": 11, "3.7": 0}

func versions(c *Cluster) (out []Finding, err error) {
	for _, e := range c.answering() {
		line, patch := splitVersion(e.Version)
		first, known := caredFor[line]
		major, minor := version(e.Version)
		switch {
		case known && patch < first:
			out = append(out, one(Warn, "fixes are missing that keep data and members safe", fmt.Sprintf("upgrade it to %s.%d or newer, one member at a time", line, first), "%s runs etcd %s", e.URL, e.Version)...)
		case !known && (major < 3 || major == 3 && minor < 5):
			out = append(out, one(Warn, "that version is no longer cared for: holes stay open", "upgrade to 3.5.30 or newer, one minor version and one member at a time", "%s runs etcd %s", e.URL, e.Version)...)
		}
	}
	return out, nil
}

// splitVersion is 3.5.12-rc.1 as "3.5" and 12.
func splitVersion(v string) (line string, patch int) {
	parts := strings.SplitN(v, ".", 3)
	if len(parts) < 3 {
		return v, 0
	}
	digits, _, _ := strings.Cut(parts[2], "-")
	patch, _ = strconv.Atoi(digits)
	return parts[0] + "." + parts[1], patch
}

const (
	defaultQuota = 2 << 30 // of an etcd that does not tell
	nearlyFull   = 80      // percent
	worthDefrag  = 256 << 20
)

func space(c *Cluster) (out []Finding, err error) {
	for _, e := range c.answering() {
		quota, from := e.Quota, ""
		if quota <= 0 {
			quota, from = defaultQuota, " (etcd's default: it does not tell)"
		}
		switch percent := e.Size * 100 / quota; {
		case percent >= nearlyFull:
			severity := Warn
			if percent >= 95 {
				severity = Fail
			}
			out = append(out, one(severity, "when it is full, etcd is read-only until somebody mends it", "etcdctl compact REVISION && etcdctl defrag --cluster; or raise --quota-backend-bytes",
				"the database of %s has %d MiB, %d %% of its quota%s", e.URL, e.Size>>20, percent, from)...)
		case e.Size > worthDefrag && e.InUse < e.Size/2:
			out = append(out, one(Note, "a member reads all of it at its start", "etcdctl defrag --cluster, one member at a time", "the database of %s has %d MiB, of which %d are in use", e.URL, e.Size>>20, e.InUse>>20)...)
		}
	}
	return out, nil
}

// The revisions at which a history is long: an hour of a busy cluster, and what a small one makes in a month.
const (
	longHistory     = 1_000_000
	neverCompacting = 100_000
)

func history(c *Cluster) ([]Finding, error) {
	if c.Etcd.HistoryErr != nil {
		return nil, c.Etcd.HistoryErr
	}
	h := c.Etcd.History
	kept := h.Revision - h.Compacted
	if kept < neverCompacting || h.Compacted > 0 && kept < longHistory {
		return nil, nil
	}
	return one(Warn, "each report of a node is a revision: without compaction the database grows until it is full", "run etcd with --auto-compaction-mode periodic --auto-compaction-retention 1h",
		"etcd keeps %d old revisions, and was last compacted at %d", kept, h.Compacted), nil
}

func encrypted(c *Cluster) (out []Finding, err error) {
	for _, e := range c.Etcd.Endpoints {
		if e.Given && !e.HTTPS && !e.Local {
			out = append(out, one(Warn, "whoever is on the way can read and change what is published, and so where connections go", "give etcd a certificate, and --etcd https://... with --etcd-ca, --etcd-cert, --etcd-key",
				"%s is plain http to another host (--insecure-etcd)", e.URL)...)
		}
	}
	return out, nil
}

const endingSoon = 30 * 24 * time.Hour

func certificates(c *Cluster) (out []Finding, err error) {
	for _, cert := range c.Etcd.Certificates {
		left := cert.NotAfter.Sub(c.Now)
		severity, when := Warn, fmt.Sprintf("ends in %d days", int(left.Hours()/24))
		switch {
		case left >= endingSoon:
			continue
		case left <= 0:
			severity, when = Fail, "has ended"
		}
		out = append(out, one(severity, "from then on no new connection to etcd is made: nodes keep what they have", "issue a new one and put it in the place of the file: it is read at the next connection, without a restart",
			"the certificate of %s, %s, %s (%s)", cert.Whose, cert.Subject, when, cert.NotAfter.UTC().Format(time.RFC3339))...)
	}
	return out, nil
}
