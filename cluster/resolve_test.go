package cluster_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

func since(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC) }

// table is one service under test; each row of the truth table says something about it.
type table struct {
	*cluster.Inputs
	t *testing.T
}

func (x table) ids() (ids []string) {
	for _, i := range x.Service.Instances {
		ids = append(ids, i.ID)
	}
	return ids
}

func (x table) health(n int, v cluster.Verdict, reason string) {
	for i, id := range x.ids()[:min(n, len(x.ids()))] {
		x.Health[id] = cluster.Health{Verdict: v, Reason: reason, Since: since(i)}
	}
}

func (x table) eject(n int) {
	x.Weights = &cluster.Weights{Ejected: map[string]cluster.Ejection{}}
	for i, id := range x.ids()[:min(n, len(x.ids()))] {
		x.Weights.Ejected[id] = cluster.Ejection{Reason: "5 failures", Since: since(59 - i)}
	}
}

func (x table) weigh(w ...int) {
	for i := range x.Service.Instances {
		x.Service.Instances[i].Weight = w[i%len(w)]
	}
}

func (x table) host(i int, h cluster.Host) {
	h.Node = "n1"
	x.Hosts[x.ids()[i]] = h
}

func hand(n int) cluster.Admin { return cluster.Admin{Weight: &n, Since: since(7)} }

var rows = []struct {
	name string
	say  func(x table)
}{
	{"all well", func(x table) {}},
	{"static: weights of the file", func(x table) { x.weigh(1, 2, 3) }},
	{"static: a weight of the file is 0", func(x table) { x.weigh(0, 2, 3) }},
	{"uniform: weights of the file do not count", func(x table) { x.weigh(1, 2, 0); x.Service.Balance = cluster.BalanceUniform }},
	{"adaptive: before the leader spoke, weights of the file", func(x table) { x.weigh(1, 2, 3); x.Service.Balance = cluster.BalanceAdaptive }},
	{"adaptive: leader's weights; missing id = mean; unknown id ignored", func(x table) {
		x.Service.Balance = cluster.BalanceAdaptive
		x.Weights = &cluster.Weights{Share: map[string]int{"i01": 100, "i02": 300, "gone": 9000}}
	}},
	{"adaptive: the leader gives 0", func(x table) {
		x.Service.Balance = cluster.BalanceAdaptive
		x.Weights = &cluster.Weights{Share: map[string]int{"i01": 0, "i02": 50}}
	}},
	{"admin: drain", func(x table) { x.Admin["i01"] = cluster.Admin{Drain: true, Reason: "new disk", Since: since(5)} }},
	{"admin: drain without a reason", func(x table) { x.Admin["i01"] = cluster.Admin{Drain: true} }},
	{"admin: standby", func(x table) { x.Admin["i01"] = cluster.Admin{Standby: true, Since: since(6)} }},
	{"admin: weight 0", func(x table) { x.Admin["i01"] = hand(0) }},
	{"admin: weight by hand wins over leader and file", func(x table) {
		x.weigh(3)
		x.Weights = &cluster.Weights{Share: map[string]int{"i01": 100, "i02": 300}}
		x.Admin["i01"] = hand(7)
	}},
	{"admin: weight by hand wins over uniform", func(x table) {
		x.Service.Balance = cluster.BalanceUniform
		x.Admin["i01"] = hand(5)
	}},
	{"admin: of an instance that is not there", func(x table) { x.Admin["gone"] = cluster.Admin{Drain: true} }},
	{"node is drained", func(x table) {
		x.host(0, cluster.Host{Admin: &cluster.NodeAdmin{Drain: true, Reason: "kernel update", Since: since(8)}})
	}},
	{"node is cordoned: keeps its traffic", func(x table) { x.host(0, cluster.Host{Admin: &cluster.NodeAdmin{Cordon: true}}) }},
	{"node is down", func(x table) {
		x.host(0, cluster.Host{Down: &cluster.Down{Reason: "lease gone for 3s", Since: since(9)}})
	}},
	{"dead: one", func(x table) { x.health(1, cluster.Dead, "connection refused") }},
	{"dead: down to none", func(x table) { x.health(10, cluster.Dead, "connection refused") }},
	{"failing: one", func(x table) { x.health(1, cluster.Failing, "timeout") }},
	{"failing: half", func(x table) { x.health(len(x.ids())/2, cluster.Failing, "timeout") }},
	{"failing: more than half is panic", func(x table) { x.health(len(x.ids())/2+1, cluster.Failing, "timeout") }},
	{"failing: all is panic", func(x table) { x.health(10, cluster.Failing, "") }},
	{"failing: panic counts neither dead nor drained", func(x table) {
		x.health(2, cluster.Failing, "timeout")
		for i, id := range x.ids() {
			switch {
			case i > 3:
				x.Health[id] = cluster.Health{Verdict: cluster.Dead}
			case i > 2:
				x.Admin[id] = cluster.Admin{Drain: true}
			}
		}
	}},
	{"drained wins over dead", func(x table) {
		x.health(1, cluster.Dead, "connection refused")
		x.Admin["i01"] = cluster.Admin{Drain: true}
	}},
	{"dead wins over ejected", func(x table) {
		x.eject(1)
		x.health(1, cluster.Dead, "connection refused")
	}},
	{"ejected: one", func(x table) { x.eject(1) }},
	{"ejected: at most a third, the longest ejected first", func(x table) { x.eject(10) }},
	{"ejected: a third of those still in", func(x table) {
		x.eject(10)
		x.health(7, cluster.Dead, "connection refused")
	}},
	{"refused: link-local", func(x table) { x.Service.Instances[0].Addr = addr("169.254.169.254") }},
	{"refused: somebody's VIP", func(x table) { x.VIPs = map[netip.Addr]bool{x.Service.Instances[0].Addr: true} }},
	{"refused: outside the instance networks", func(x table) {
		x.Config = &cluster.Config{InstanceNetworks: pfx("192.168.0.0/16")}
		x.Service.Instances[0].Addr = addr("172.16.0.1")
	}},
	{"refused: inside a VIP pool", func(x table) {
		x.Config = &cluster.Config{VIPPools: pfx("10.10.0.0/16")}
		x.Service.Instances[0].Addr = addr("10.10.9.9")
	}},
	{"refused: registered by a node that may not claim the address", func(x table) {
		x.Config = &cluster.Config{NodeAddresses: map[string][]netip.Prefix{"n1": pfx("192.168.10.200/32")}}
		for id, a := range map[string]string{"mine": "192.168.10.200:80", "not-mine": "192.168.10.1:81"} {
			i := instance(x.t, a)
			i.ID, i.Node = id, "n1"
			x.Registered = append(x.Registered, i)
		}
		slices.SortFunc(x.Registered, cluster.Instance.Compare)
	}},
	{"duplicate: a registered instance with the address of the file's", func(x table) {
		i := instance(x.t, "192.168.10.1:80")
		i.ID, i.Node = "other", "n1"
		x.Registered = append(x.Registered, i)
	}},
	{"duplicate: a registered instance with the id of the file's", func(x table) {
		i := instance(x.t, "192.168.10.99:80")
		i.ID, i.Node = "i01", "n1"
		x.Registered = append(x.Registered, i)
	}},
	{"VIP outside the pools: not served", func(x table) { x.Config = &cluster.Config{VIPPools: pfx("10.99.0.0/16")} }},
	{"frontend lost to an older service", func(x table) {
		x.Service.Ports = append(x.Service.Ports, cluster.Port{Name: "tls", Port: 8443, Protocol: cluster.TCP})
		x.Lost = map[cluster.Frontend]string{x.Service.Frontends()[0]: "older"}
	}},
	{"two families and two ports", func(x table) {
		x.Service.VIPs = append(x.Service.VIPs, addr("fd00::128"))
		x.Service.Ports = []cluster.Port{{Name: "web", Port: 80, Protocol: cluster.TCP}, {Name: "dns", Port: 53, Protocol: cluster.UDP}}
		x.Service.Instances[0].Addr = addr("fd00:1::1")
		x.Service.Instances[0].Ports = map[string]uint16{"dns": 5353}
	}},
}

func TestResolveTruthTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, n := range []int{1, 2, 3, 10} {
		for _, row := range rows {
			in := &cluster.Inputs{
				Service: service(t, "a", n), Admin: map[string]cluster.Admin{},
				Health: map[string]cluster.Health{}, Hosts: map[string]cluster.Host{},
			}
			row.say(table{in, t})
			fmt.Fprintf(&b, "== %s, of %d\n", row.name, n)
			describe(&b, cluster.Resolve(in))
		}
	}
	golden(t, "testdata/resolve.golden", b.String())
}

func describe(b *strings.Builder, r *cluster.Resolved) {
	for _, s := range r.Instances {
		line := fmt.Sprintf("%-8s %-20s %-9s %d", s.Instance.ID, s.Instance.Address(), s.Status, s.Weight)
		if s.Reason != "" {
			line += "  " + s.Reason
		}
		if !s.Since.IsZero() {
			line += s.Since.Format("  since :05")
		}
		fmt.Fprintln(b, line)
	}
	for _, f := range r.Frontends {
		fmt.Fprintf(b, "%s ->", f)
		for _, target := range r.Targets(f) {
			fmt.Fprintf(b, " %s*%d", target.Address, target.Weight)
		}
		fmt.Fprintln(b)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(b, "! %s\n", p.Error())
	}
	fmt.Fprintln(b)
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "read the difference; if it is meant: go test ./cluster -update")
}

// An operator drains what he published; a node that registers the same address under an id that sorts before must not
// get around that.
func TestResolvePrefersTheFileOverTheRegistered(t *testing.T) {
	t.Parallel()
	reg := instance(t, "192.168.10.1:80")
	reg.ID, reg.Node = "a0", "n1"
	r := cluster.Resolve(&cluster.Inputs{
		Service: service(t, "a", 2), Registered: []cluster.Instance{reg},
		Admin: map[string]cluster.Admin{"i01": {Drain: true}},
	})
	got := map[string]cluster.Status{}
	for _, s := range r.Instances {
		got[s.Instance.ID] = s.Status
	}
	require.Equal(t, map[string]cluster.Status{"a0": cluster.Duplicate, "i01": cluster.Draining, "i02": cluster.Serving}, got)
}

func TestResolveServesAtMostMaxInstances(t *testing.T) {
	t.Parallel()
	s := service(t, "a", cluster.MaxInstances)
	extra := instance(t, "172.16.0.1:80")
	extra.ID, extra.Node = "zz", "n1"
	r := cluster.Resolve(&cluster.Inputs{Service: s, Registered: []cluster.Instance{extra}})
	require.Len(t, r.Targets(r.Frontends[0]), cluster.MaxInstances)
	last := r.Instances[cluster.MaxInstances]
	require.Equal(t, cluster.Refused, last.Status)
	require.False(t, last.Takes())
	require.Len(t, r.Problems, 1)
}

// Resolve must not write into what it was given: Inputs are shared between goroutines and snapshots.
func TestResolveLeavesItsInputsAlone(t *testing.T) {
	t.Parallel()
	s := service(t, "a", 3)
	slices.Reverse(s.Instances)
	before := slices.Clone(s.Instances)
	cluster.Resolve(&cluster.Inputs{Service: s, Registered: []cluster.Instance{instance(t, "192.168.1.1:1")}})
	require.Equal(t, before, s.Instances)
}

// What was written past publish is not left out in silence.
func TestResolveTellsOfInstancesThatNothingLeadsTo(t *testing.T) {
	t.Parallel()
	reached, _ := cluster.ParseInstance("192.168.10.1:80")
	family, _ := cluster.ParseInstance("[fd00::1]:80")
	portless, _ := cluster.ParseInstance("192.168.10.2")
	draft := cluster.NewDraft()
	draft.Service("a", &cluster.Service{
		Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
		Instances: []cluster.Instance{reached, family, portless},
	})
	in, _ := draft.Snapshot(1).Services.Get("a")
	r := cluster.Resolve(in)
	got := map[string]cluster.Status{}
	for _, s := range r.Instances {
		got[s.Instance.ID] = s.Status
	}
	require.Equal(t, map[string]cluster.Status{"192.168.10.1:80": cluster.Serving, "[fd00::1]:80": cluster.Refused, "192.168.10.2": cluster.Refused}, got)
	require.Len(t, r.Problems, 2)
	require.Contains(t, r.Problems[0].Error()+r.Problems[1].Error(), "nothing leads to it")
	require.Len(t, r.Targets(r.Frontends[0]), 1)
}

// TestResolveRefusesBadIDs: publish does too, but a value may have been written past it.
func TestResolveRefusesBadIDs(t *testing.T) {
	good, err := cluster.ParseInstance("192.168.10.1:80")
	require.NoError(t, err)
	bad, err := cluster.ParseInstance("192.168.10.2:80")
	require.NoError(t, err)
	bad.ID = "x\x1b[31m\"; add table ip pwned; #"
	r := cluster.Resolve(&cluster.Inputs{Service: &cluster.Service{
		Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1")}, Ports: []cluster.Port{{Port: 80, Protocol: cluster.TCP}},
		Instances: []cluster.Instance{good, bad},
	}})
	require.Len(t, r.Targets(r.Frontends[0]), 1)
	require.Len(t, r.Problems, 1)
	require.Equal(t, `instance "x\x1b[31m\"; add table ip pwned; #"`, r.Problems[0].Field)
	require.NotContains(t, r.Problems[0].Error(), "\x1b")
}
