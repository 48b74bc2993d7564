package rulestest

import (
	"bytes"
	"context"
	"flag"
	"net/netip"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netns"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// Namespace is a fresh network namespace for the length of a test, by its file descriptor.
func Namespace(t testing.TB) int {
	var fresh netns.NsHandle
	onThread(func() {
		var err error
		fresh, err = netns.New()
		require.NoError(t, err)
	})
	t.Cleanup(func() { fresh.Close() })
	return int(fresh)
}

// onThread runs fn on a thread that ends with it, so that a change of namespace reaches nobody else.
func onThread(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		fn()
	}()
	<-done
}

// Inside runs a program in a namespace and returns what it says.
func Inside(ns int, stdin string, command ...string) (string, error) {
	var out bytes.Buffer
	var err error
	onThread(func() {
		if err = netns.Set(netns.NsHandle(ns)); err != nil {
			return
		}
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
		err = cmd.Run()
	})
	return out.String(), err
}

// Ruleset is what a node wants that has heard of these services alone.
func Ruleset(options rules.Options, services ...*cluster.Service) *rules.Ruleset {
	draft := cluster.NewDraft()
	for i, s := range services {
		s.CreateRevision, s.ModRevision = int64(i+1), int64(i+1)
		draft.Service(s.Name, s)
	}
	return rules.Build(nil, draft.Snapshot(int64(len(services)+1)), options)
}

// Service is one with a VIP or several, one TCP port, and instances as "ADDRESS" or "ADDRESS*WEIGHT".
func Service(name, vips string, port uint16, instances ...string) *cluster.Service {
	s := &cluster.Service{Name: name, Ports: []cluster.Port{{Port: port, Protocol: cluster.TCP}}}
	for vip := range strings.FieldsSeq(vips) {
		s.VIPs = append(s.VIPs, netip.MustParseAddr(vip))
	}
	for _, text := range instances {
		address, weight, weighted := strings.Cut(text, "*")
		i, err := cluster.ParseInstance(address)
		if err != nil {
			panic(err)
		}
		if weighted {
			if i.Weight, err = strconv.Atoi(weight); err != nil {
				panic(err)
			}
		}
		s.Instances = append(s.Instances, i)
	}
	return s
}

// With changes a service and returns it.
func With(s *cluster.Service, change func(*cluster.Service)) *cluster.Service {
	change(s)
	return s
}

// Sleeper has a service launched, from no instance on.
func Sleeper(s *cluster.Service) {
	s.Run, s.Scale = &cluster.Run{Command: []string{"/bin/true"}}, &cluster.Scale{Max: 3}
}

// Few limits the random checks of a test to what a kernel can bear, unless the command line asks for a number.
func Few(t testing.TB, n int) {
	checks := flag.Lookup("rapid.checks")
	if before := checks.Value.String(); before == checks.DefValue {
		require.NoError(t, checks.Value.Set(strconv.Itoa(n)))
		t.Cleanup(func() { require.NoError(t, checks.Value.Set(before)) })
	}
}

// DrawOptions are a host's: none, or clients whose address is kept and links.
func DrawOptions(t *rapid.T) rules.Options {
	prefix := netip.MustParsePrefix
	return rules.Options{
		Node: Nodes[0], Ping: rapid.Bool().Draw(t, "ping"), NoHold: rapid.IntRange(0, 4).Draw(t, "nohold") == 0,
		KeepSource: rapid.SampledFrom([][]netip.Prefix{nil, {prefix("192.168.10.4/30"), prefix("fd00::/65")}}).Draw(t, "keep"),
		Links:      []netip.Prefix{prefix("192.168.10.0/24"), prefix("192.168.11.1/32"), prefix("fd00::/64")},
	}
}

// Install brings a kernel to what is wanted, without a doubt about what it held.
func Install(t require.TestingT, d rules.Driver, want *rules.Ruleset) *rules.State {
	state, err := d.Read(context.Background())
	require.NoError(t, err)
	problems, err := rules.Carry(context.Background(), d, state, rules.Diff(state, want))
	require.NoError(t, err)
	require.Empty(t, problems)
	return state
}

// Frontend reads IP:PORT or IP:PORT/PROTO.
func Frontend(s string) cluster.Frontend {
	f, err := cluster.ParseFrontend(s)
	if err != nil {
		panic(err)
	}
	return f
}

// Prefix reads a network.
func Prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
