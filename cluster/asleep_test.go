package cluster

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSleeps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		scale *Scale
		want  bool
	}{{nil, false}, {&Scale{Max: 3}, true}, {&Scale{Min: 1, Max: 3}, false}} {
		require.Equal(t, c.want, (&Service{Scale: c.scale}).Sleeps(), "%+v", c.scale)
	}
}

// TestAsleep says when a service waits for somebody to connect, and when it refuses though nobody serves.
func TestAsleep(t *testing.T) {
	t.Parallel()
	one := func(change func(*Instance)) func(*Inputs) {
		return func(in *Inputs) {
			i := Instance{ID: "a-1", Addr: netip.MustParseAddr("192.168.10.1"), Port: 80, Weight: 1, Node: "n1"}
			change(&i)
			in.Registered = append(in.Registered, i)
		}
	}
	comes, goes := one(func(i *Instance) { i.Standby = true }), one(func(i *Instance) { i.ID, i.Port, i.Draining = "a-2", 81, true })
	serves := one(func(*Instance) {})
	health := func(v Verdict) func(*Inputs) {
		return func(in *Inputs) { in.Health = map[string]Health{"a-1": {Verdict: v}} }
	}
	byHand := func(in *Inputs) { in.Service.Run = nil }
	for _, c := range []struct {
		name    string
		changes []func(*Inputs)
		want    bool
	}{
		{"nobody is there", nil, true},
		{"one stands by", []func(*Inputs){comes}, true},
		{"one is taken out by its launcher", []func(*Inputs){goes}, true},
		{"one comes and one goes", []func(*Inputs){comes, goes}, true},
		{"one stands by that is dead", []func(*Inputs){comes, health(Dead)}, true},
		{"one serves", []func(*Inputs){serves}, false},
		{"one serves, and one goes", []func(*Inputs){serves, goes}, false},
		{"one is dead", []func(*Inputs){serves, health(Dead)}, false},
		{"one fails", []func(*Inputs){serves, health(Failing)}, false},
		{"one asks for no connections", []func(*Inputs){serves, health(Leaving)}, false},
		{"an operator drained one", []func(*Inputs){serves, func(in *Inputs) { in.Admin = map[string]Admin{"a-1": {Drain: true}} }}, false},
		{"an operator has one stand by", []func(*Inputs){serves, func(in *Inputs) { in.Admin = map[string]Admin{"a-1": {Standby: true}} }}, false},
		{"one may not be used", []func(*Inputs){one(func(i *Instance) { i.Addr = netip.MustParseAddr("127.0.0.1") })}, false},
		{"at least one is wanted", []func(*Inputs){func(in *Inputs) { in.Service.Scale.Min = 1 }}, false},
		{"their number is given", []func(*Inputs){func(in *Inputs) { in.Service.Scale = nil }}, false},
		{"nobody starts instances", []func(*Inputs){byHand}, false},
		{"somebody else does", []func(*Inputs){func(in *Inputs) { in.Service.Run.Driver = DriverExternal }}, false},
		{"a list, of which all stand by", []func(*Inputs){byHand, comes}, true},
		{"a list, of which one is called", []func(*Inputs){byHand, comes, func(in *Inputs) {
			in.Called = &Called{Instances: map[string]Call{"a-1": {Serving: true}}}
		}}, false},
	} {
		in := &Inputs{Service: &Service{
			Name: "a", VIPs: []netip.Addr{netip.MustParseAddr("10.10.1.1")}, Ports: []Port{{Port: 80, Protocol: TCP}},
			Run: &Run{Command: []string{"/bin/a"}}, Scale: &Scale{Max: 3},
		}}
		for _, change := range c.changes {
			change(in)
		}
		require.Equal(t, c.want, Resolve(in).Asleep(), c.name)
	}
}
