package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/internal/plain"
)

// few is how many of a kind are told.
const few = 5

func confined(c *Cluster) ([]Finding, error) {
	s, err := c.Snapshot.get()
	if err != nil {
		return nil, err
	}
	var missing []string
	if s.Config == nil || len(s.Config.VIPPools) == 0 {
		missing = append(missing, "vip_pools")
	}
	if s.Config == nil || len(s.Config.InstanceNetworks) == 0 {
		missing = append(missing, "instance_networks")
	}
	if len(missing) == 0 {
		return nil, nil
	}
	return one(Note, "a slip in a service file may claim any address as a VIP, or send clients anywhere; and without pools each VIP is a route of its own", "weir controlcenter config -f FILE",
		"the configuration does not give %s", strings.Join(missing, " and ")), nil
}

func values(c *Cluster) (out []Finding, err error) {
	s, err := c.Snapshot.get()
	if err != nil {
		return nil, err
	}
	for _, p := range s.Problems[:min(few, len(s.Problems))] {
		out = append(out, one(Warn, "what it says is not in force", cmp.Or(p.Fix, "write it again"), "%s: %s", p.Object, p.What)...)
	}
	if more := len(s.Problems) - few; more > 0 {
		out = append(out, one(Warn, "what they say is not in force", "weir get services prints all of them as warnings", "%s more cannot be read", plain.Plural(more, "value"))...)
	}
	return out, nil
}

func services(c *Cluster) (out []Finding, err error) {
	s, err := c.Snapshot.get()
	if err != nil {
		return nil, err
	}
	rows, err := controlcenter.Services(s, "")
	if err != nil {
		return nil, err
	}
	var down, faulty []string
	for _, r := range rows {
		if r.Taking == 0 {
			down = append(down, r.Name)
		}
		if len(r.Problems) > 0 {
			faulty = append(faulty, r.Name)
		}
	}
	if len(down) > 0 {
		out = append(out, one(Warn, "their clients are refused", "weir get instances SERVICE says why for each", "no instance takes connections of %s", plain.Few(down))...)
	}
	if len(faulty) > 0 {
		out = append(out, one(Note, "a part of each is left out", "weir get services -o wide", "what is published of %s is partly wrong", plain.Few(faulty))...)
	}
	return out, nil
}

// told are the nodes with what they told.
func (c *Cluster) told() ([]controlcenter.NodeRow, error) {
	s, err := c.Snapshot.get()
	if err != nil {
		return nil, err
	}
	fleet, err := c.Fleet.get()
	if err != nil {
		return nil, err
	}
	return controlcenter.Nodes(s, fleet, "", c.Now)
}

func guard(c *Cluster) (out []Finding, err error) {
	fleet, err := c.Fleet.get()
	if err != nil {
		return nil, err
	}
	var holding []string
	var revision int64
	for node, a := range fleet.Applied {
		if a.Held != nil {
			holding, revision = append(holding, node), max(revision, a.Held.Revision)
		}
	}
	if len(holding) == 0 {
		return nil, nil
	}
	slices.Sort(holding)
	return one(Warn, "many services vanished at once, which looks like an accident: they are still served", fmt.Sprintf("weir guard says which; if it is meant: weir guard accept --revision %d", revision),
		"deletions are held back by %s", plain.Few(holding)), nil
}

func nodes(c *Cluster) (out []Finding, err error) {
	rows, err := c.told()
	if err != nil {
		return nil, err
	}
	by := map[string][]string{}
	for _, r := range rows {
		switch {
		case r.State == "gone", r.State == "unwatched", r.State == "down":
			by[r.State] = append(by[r.State], r.Name)
		case r.Stale:
			by["stale"] = append(by["stale"], r.Name)
		case r.Alive && r.At.IsZero():
			by["silent"] = append(by["silent"], r.Name)
		}
	}
	for _, kind := range []struct{ state, why, fix, seen string }{
		{"gone", "its rules keep working, but nothing published since reaches it", "on the node: weir agent doctor; of a node that is gone for good: weir node forget NAME", "no agent is in touch with etcd on"},
		{"unwatched", "its instances answer and keep their traffic, but nothing published since reaches its rules", "on the node: weir agent doctor", "no agent is in touch with etcd, though instances answer, on"},
		{"down", "its instances take no connections", "start its agent: it takes that back; or weir node forget NAME", "declared down:"},
		{"stale", "it works from its snapshot file, and what is published since does not reach it", "on the node: weir agent doctor", "without etcd:"},
		{"silent", "it may hold no rules", "its log: journalctl -u weir-agent", "alive, but never applied anything:"},
	} {
		if names := by[kind.state]; len(names) > 0 {
			out = append(out, one(Warn, kind.why, strings.ReplaceAll(kind.fix, "PREFIX", c.Prefix), "%s %s", kind.seen, plain.Few(names))...)
		}
	}
	return out, nil
}

// lag: past a barrier nodes tell at once, otherwise every 30 s.
func lag(c *Cluster) (out []Finding, err error) {
	rows, err := c.told()
	if err != nil {
		return nil, err
	}
	s, err := c.Snapshot.get()
	if err != nil {
		return nil, err
	}
	var late, behind []string
	for _, r := range rows {
		switch {
		case !r.Alive || r.At.IsZero() || r.Lag == 0:
		case r.Applied < s.Barrier:
			late = append(late, r.Name)
		default:
			behind = append(behind, r.Name)
		}
	}
	if len(late) > 0 {
		out = append(out, one(Warn, "they serve what was published before", "on the node: weir agent doctor, and its log", "asked to apply a change at once, and have not: %s", plain.Few(late))...)
	}
	if len(behind) > 0 {
		out = append(out, one(Note, "nodes that nobody waits for tell within 36 s", "ask again in a minute", "have not told yet that they applied the last change: %s", plain.Few(behind))...)
	}
	return out, nil
}

func problems(c *Cluster) (out []Finding, err error) {
	fleet, err := c.Fleet.get()
	if err != nil {
		return nil, err
	}
	all, untold := controlcenter.NodeProblems(fleet), fleet.Untold()
	for _, p := range all[:min(few, len(all))] {
		out = append(out, one(Warn, "what it names is not served there as published", cmp.Or(p.Fix, "weir get problems"), "%s: %s: %s", p.Who(), p.Object, p.Wrong())...)
	}
	if more := max(0, len(all)-few) + untold; more > 0 {
		out = append(out, one(Warn, "what they name is not served there as published", "weir get problems; a node's page /debug/problems has all of its own", "%s", plain.Plural(more, "more problem"))...)
	}
	return out, nil
}

func insecure(c *Cluster) (out []Finding, err error) {
	fleet, err := c.Fleet.get()
	if err != nil {
		return nil, err
	}
	var names []string
	for node, a := range fleet.Applied {
		if a.Insecure {
			names = append(names, node)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	slices.Sort(names)
	return one(Warn, "whoever reaches etcd, or the way to it, decides where that node's connections go", "give etcd TLS and users, and the agent its certificate instead of --insecure-etcd",
		"agents that accept an unsafe etcd (--insecure-etcd): %s", plain.Few(names)), nil
}

func agents(c *Cluster) ([]Finding, error) {
	rows, err := c.told()
	if err != nil {
		return nil, err
	}
	by := map[string][]string{}
	for _, r := range rows {
		if r.Alive && r.Version != "" {
			by[r.Version] = append(by[r.Version], r.Name)
		}
	}
	if len(by) < 2 {
		return nil, nil
	}
	var words []string
	for version, names := range by {
		words = append(words, version+" on "+plain.Few(names))
	}
	slices.Sort(words)
	return one(Note, "older agents may not know what newer ones do: finish the upgrade", "none is needed while an upgrade is under way", "agents of several versions: %s", strings.Join(words, "; ")), nil
}

// askew is how far apart clocks may be: a report and its reading take a second or two.
const askew = 5 * time.Second

// clocks finds those that are ahead of this host's, and those that applied a change before it was made.
func clocks(c *Cluster) (out []Finding, err error) {
	fleet, err := c.Fleet.get()
	if err != nil {
		return nil, err
	}
	s, err := c.Snapshot.get()
	if err != nil {
		return nil, err
	}
	var ahead, behind []string
	for node, a := range fleet.Applied {
		switch asked := c.Etcd.BarrierAt; {
		case a.At.Sub(c.Now) > askew:
			ahead = append(ahead, fmt.Sprintf("%s (%s)", node, a.At.Sub(c.Now).Round(time.Second)))
		case s.Barrier > 0 && a.Revision >= s.Barrier && !asked.IsZero() && !a.At.IsZero() && asked.Sub(a.At) > askew:
			behind = append(behind, fmt.Sprintf("%s (%s)", node, asked.Sub(a.At).Round(time.Second)))
		}
	}
	slices.Sort(ahead)
	slices.Sort(behind)
	const why, fix = "times in logs and listings mislead, and certificates are judged by them; no traffic depends on it", "run chrony or systemd-timesyncd on that node, or here"
	if len(ahead) > 0 {
		out = append(out, one(Warn, why, fix, "clocks are ahead of this host's: %s", plain.Few(ahead))...)
	}
	if len(behind) > 0 {
		out = append(out, one(Warn, why, fix, "applied the last awaited change before it was made, by their clocks: %s", plain.Few(behind))...)
	}
	return out, nil
}
