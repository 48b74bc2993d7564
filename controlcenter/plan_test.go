package controlcenter_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

func snapshot(t *testing.T, f *storetest.Fake) *cluster.Snapshot {
	t.Helper()
	s, err := f.Snapshot(t.Context())
	require.NoError(t, err)
	return s
}

func config(pools string, networks ...string) *cluster.Config {
	c := &cluster.Config{}
	for _, p := range strings.Fields(pools) {
		c.VIPPools = append(c.VIPPools, netip.MustParsePrefix(p))
	}
	for _, p := range networks {
		c.InstanceNetworks = append(c.InstanceNetworks, netip.MustParsePrefix(p))
	}
	return c
}

func TestPlanPublishShowsWhatChanges(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	s := storetest.Service(t, "a", "10.10.1.128:8080", "192.168.10.100:80", "192.168.10.101:80", "192.168.10.102:80")
	plan, err := controlcenter.PlanPublish(snapshot(t, f), s)
	require.NoError(t, err)
	require.Equal(t, `service a is created
  + service a
  + balance: static
  + affinity: none
  + frontend 10.10.1.128:8080
  + instance 192.168.10.100:80: 192.168.10.100:80, weight 1
  + instance 192.168.10.101:80: 192.168.10.101:80, weight 1
  + instance 192.168.10.102:80: 192.168.10.102:80, weight 1`, plan.String())

	f.Put(t, s)
	next := storetest.Service(t, "a", "10.10.1.128:8081", "192.168.10.101:80", "192.168.10.102:80", "192.168.10.103:80")
	next.Balance = cluster.BalanceAdaptive
	next.Instances[0].Weight = 5
	next.Instances[1].Labels = map[string]string{"zone": "east"}
	plan, err = controlcenter.PlanPublish(snapshot(t, f), next)
	require.NoError(t, err)
	require.Equal(t, `service a changes
  ~ balance: static -> adaptive
  - frontend 10.10.1.128:8080
  + frontend 10.10.1.128:8081
  - instance 192.168.10.100:80
  ~ instance 192.168.10.101:80 weight: 1 -> 5
  ~ instance 192.168.10.102:80 labels: {} -> {"zone"="east"}
  + instance 192.168.10.103:80: 192.168.10.103:80, weight 1`, plan.String())
	require.Equal(t, int64(101), plan.Service.ModRevision, "planned on what stands there")
}

func TestPlanShowsPortsAndLabelsOfInstances(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	s := storetest.Service(t, "a", "10.10.1.128:80", "192.168.10.1")
	s.Ports = []cluster.Port{{Name: "web", Port: 80, Protocol: cluster.TCP}, {Name: "dns", Port: 53, Protocol: cluster.UDP}}
	s.Instances[0].Ports = map[string]uint16{"web": 8080, "dns": 5353}
	s.Instances[0].Labels = map[string]string{"zone": "east"}
	plan, err := controlcenter.PlanPublish(snapshot(t, f), s)
	require.NoError(t, err)
	require.Contains(t, plan.String(), `+ instance 192.168.10.1: 192.168.10.1, ports {dns: 5353, web: 8080}, weight 1, labels {"zone"="east"}`)
	f.Put(t, s)
	next := *s
	next.Instances = slices.Clone(s.Instances)
	next.Instances[0].Ports = map[string]uint16{"web": 8081, "dns": 5353}
	plan, err = controlcenter.PlanPublish(snapshot(t, f), &next)
	require.NoError(t, err)
	require.Equal(t, "service a changes\n  ~ instance 192.168.10.1 ports: {dns: 5353, web: 8080} -> {dns: 5353, web: 8081}", plan.String())
}

func TestPlanPublishOfTheSameIsNothing(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	s := storetest.Service(t, "a", "10.10.1.128:8080", "192.168.10.100:80", "192.168.10.101:80")
	s.VIPs = append(s.VIPs, netip.MustParseAddr("10.10.1.129"))
	f.Put(t, s)
	same := *s
	same.Balance, same.Affinity, same.Locality = cluster.BalanceStatic, cluster.AffinityNone, cluster.LocalityNone
	same.Instances, same.VIPs = slices.Clone(s.Instances), slices.Clone(s.VIPs)
	slices.Reverse(same.Instances)
	slices.Reverse(same.VIPs)
	same.Instances[0].Labels = map[string]string{}
	plan, err := controlcenter.PlanPublish(snapshot(t, f), &same)
	require.NoError(t, err)
	require.True(t, plan.Nothing(), "%s", plan)
	require.Equal(t, "service a is already as wanted", plan.String())
	for name, change := range map[string]func(*cluster.Service){
		"balance":       func(s *cluster.Service) { s.Balance = cluster.BalanceUniform },
		"affinity":      func(s *cluster.Service) { s.Affinity = cluster.AffinitySource },
		"locality":      func(s *cluster.Service) { s.Locality = cluster.LocalityNode },
		"sources":       func(s *cluster.Service) { s.Sources = []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16")} },
		"vips":          func(s *cluster.Service) { s.VIPs = s.VIPs[:1] },
		"protocol":      func(s *cluster.Service) { s.Ports = []cluster.Port{{Port: 8080, Protocol: cluster.UDP}} },
		"port name":     func(s *cluster.Service) { s.Ports = []cluster.Port{{Name: "web", Port: 8080, Protocol: cluster.TCP}} },
		"instance id":   func(s *cluster.Service) { s.Instances[0].ID = "x" },
		"instance port": func(s *cluster.Service) { s.Instances[0].Port = 81 },
		"weight":        func(s *cluster.Service) { s.Instances[0].Weight = 2 },
		"standby":       func(s *cluster.Service) { s.Instances[0].Standby = true },
		"labels":        func(s *cluster.Service) { s.Instances[0].Labels = map[string]string{"a": "b"} },
		"one fewer":     func(s *cluster.Service) { s.Instances = s.Instances[:1] },
	} {
		differs := same
		differs.Instances = slices.Clone(same.Instances)
		change(&differs)
		plan, err := controlcenter.PlanPublish(snapshot(t, f), &differs)
		require.NoError(t, err, name)
		require.False(t, plan.Nothing(), name)
	}
}

func TestPlanPublishRefuses(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "other", "10.10.1.128:8080", "192.168.10.1:80"))
	f.Edit(func(d *cluster.Draft) {
		d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.1")}})
		d.Instance("n1", "other", "r1", &cluster.Instance{Addr: netip.MustParseAddr("192.168.10.9"), Port: 80, Weight: 1})
	})
	tests := []struct{ name, frontend, instance, says string }{
		{"VIP taken", "10.10.1.128:8080", "192.168.10.2:80", "vips[0]: 10.10.1.128:8080 is taken by service other: choose another VIP or port, or withdraw other"},
		{"VIP is an instance", "192.168.10.1:80", "192.168.10.2:80", "vips[0]: 192.168.10.1 is the address of instance 192.168.10.1:80 of service other"},
		{"VIP is a registered instance", "192.168.10.9:80", "192.168.10.2:80", "192.168.10.9 is the address of instance r1 of service other on node n1"},
		{"VIP is a node", "192.168.1.1:80", "192.168.10.2:80", "vips[0]: 192.168.1.1 is the address of node n1"},
		{"instance is a VIP", "10.10.1.129:80", "10.10.1.128:80", "instances[0].address: 10.10.1.128 is a VIP of service other: traffic would circle"},
		{"instance is its own VIP", "10.10.1.129:80", "10.10.1.129:80", "instances[0].address: 10.10.1.129 is a VIP of this service"},
		{"cloud metadata", "10.10.1.129:80", "169.254.169.254:80", "metadata"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := controlcenter.PlanPublish(snapshot(t, f), storetest.Service(t, "a", test.frontend, test.instance))
			require.ErrorContains(t, err, test.says)
			if test.name == "VIP taken" {
				require.ErrorIs(t, err, cluster.ErrConflict)
			} else {
				require.NotErrorIs(t, err, cluster.ErrConflict)
			}
		})
	}
	plan, err := controlcenter.PlanPublish(snapshot(t, f), storetest.Service(t, "a", "10.10.1.128:8081", "192.168.10.1:80"))
	require.NoError(t, err, "a VIP may be shared by ports, a host by services")
	require.False(t, plan.Nothing())
}

func TestPlanPublishRefusesWhatIsTooLargeForEtcd(t *testing.T) {
	t.Parallel()
	s := storetest.Service(t, "a", "10.10.1.128:8080")
	for i := range cluster.MaxInstances {
		inst := storetest.Service(t, "x", "10.0.0.1:1", fmt.Sprintf("192.168.%d.%d:80", i/250, i%250+1)).Instances[0]
		inst.Labels = map[string]string{"note": strings.Repeat("x", 1100)}
		s.Instances = append(s.Instances, inst)
	}
	_, err := controlcenter.PlanPublish(snapshot(t, storetest.New()), s)
	require.ErrorContains(t, err, "service a: it is larger than 1 MiB")
}

func TestPlanAllocatesTheLowestFreeVIP(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, pools string
		instances   []string
		want        []string
		says        string
	}{
		{"the first host", "10.10.0.0/24", []string{"192.168.1.1:80"}, []string{"10.10.0.1"}, ""},
		{"without instances IPv4", "10.10.0.0/24 fd00:10::/64", nil, []string{"10.10.0.1"}, ""},
		{"both families", "10.10.0.0/24 fd00:10::/64", []string{"192.168.1.1:80", "[fd00:1::1]:80"}, []string{"10.10.0.1", "fd00:10::1"}, ""},
		{"skips VIPs, nodes and instances", "192.168.0.0/29", []string{"172.16.0.1:80"}, []string{"192.168.0.4"}, ""},
		{"the next pool when one is full", "10.10.9.1/32 10.10.8.0/30", []string{"192.168.1.1:80"}, []string{"10.10.8.1"}, ""},
		{"never the broadcast address", "192.168.0.0/30", []string{"172.16.0.1:80"}, nil, "have no free IPv4 address"},
		{"no pool of the family", "10.10.0.0/24", []string{"[fd00:1::1]:80"}, nil, "have no free IPv6 address: give one under vips, or add a pool"},
		{"no pool", "", []string{"192.168.1.1:80"}, nil, "no VIP is given, and there is no pool of VIPs: give one under vips, or add a pool"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := storetest.New()
			f.Put(t, storetest.Service(t, "v", "192.168.0.1:1"), storetest.Service(t, "w", "10.10.9.1:1", "192.168.0.2:1"))
			f.Edit(func(d *cluster.Draft) {
				d.Node("n1", &cluster.Node{Addresses: []netip.Addr{netip.MustParseAddr("192.168.0.3")}})
				d.Config(config(test.pools))
			})
			s := storetest.Service(t, "a", "10.0.0.1:80", test.instances...)
			s.VIPs = nil
			plan, err := controlcenter.PlanPublish(snapshot(t, f), s)
			if test.says != "" {
				require.ErrorContains(t, err, test.says)
				return
			}
			require.NoError(t, err)
			var got []string
			for _, vip := range plan.Service.VIPs {
				got = append(got, vip.String())
			}
			require.Equal(t, test.want, got)
			require.Empty(t, s.VIPs, "what the caller gave stays as it was")
		})
	}
}

func TestPlanKeepsTheVIPThatClientsKnow(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	s := storetest.Service(t, "a", "10.10.0.77:80", "192.168.1.1:80")
	f.Put(t, s)
	f.Edit(func(d *cluster.Draft) { d.Config(config("10.10.0.0/24")) })
	s.VIPs = nil
	plan, err := controlcenter.PlanPublish(snapshot(t, f), s)
	require.NoError(t, err)
	require.True(t, plan.Nothing(), "%s", plan)
}

func TestPlanAllSeesWhatWasPlannedBefore(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Edit(func(d *cluster.Draft) { d.Config(config("10.10.0.0/24")) })
	read := func(text string) []controlcenter.Entry {
		entries, err := controlcenter.ReadFile("f", []byte(text))
		require.NoError(t, err)
		return entries
	}
	plans, err := controlcenter.PlanAll(snapshot(t, f), read("name: a\nports: [{port: 80}]\n---\nname: b\nports: [{port: 80}]\n"))
	require.NoError(t, err)
	require.NotEqual(t, plans[0].Service.VIPs, plans[1].Service.VIPs)

	_, err = controlcenter.PlanAll(snapshot(t, f), read("name: a\nvips: [10.10.0.5]\nports: [{port: 80}]\n---\nname: b\nports: [{port: 80}]\nvips:\n- 10.10.0.5\n---\nname: b\nports: [{port: 1}]\n"))
	require.EqualError(t, err, "f:8: service b: vips[0]: 10.10.0.5:80 is taken by service a: choose another VIP or port, or withdraw a\n"+
		"f:10: service b: name: it is given twice: remove one")
}

// One file may hand a VIP from one service to the other, as long as the one that gives it up comes first.
func TestPlanAllHandsAVIPOver(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "a", "10.10.0.1:80"))
	entries, err := controlcenter.ReadFile("f", []byte("name: a\nvips: [10.10.0.2]\nports: [{port: 80}]\n---\nname: b\nvips: [10.10.0.1]\nports: [{port: 80}]\n"))
	require.NoError(t, err)
	_, err = controlcenter.Publish(t.Context(), f, entries, controlcenter.How{})
	require.NoError(t, err)
	require.Equal(t, 2, f.Writes())
}

func TestPlanPointsAtTheLineOfAMistake(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Edit(func(d *cluster.Draft) { d.Config(config("10.10.0.0/16", "192.168.0.0/16")) })
	entries, err := controlcenter.ReadFile("svc.yaml", []byte(`name: Web
balance: fair
vips:
  - 10.10.0.1
  - 10.99.0.1
ports:
  - port: 80
  - port: 443
instances:
  - 192.168.1.1:80
  - 127.0.0.1:80
  - address: 192.168.1.1:80
    weight: 3
`))
	require.NoError(t, err)
	_, err = controlcenter.PlanAll(snapshot(t, f), entries)
	var got []string
	for _, line := range strings.Split(err.Error(), "\n") {
		got = append(got, strings.Join(strings.SplitN(line, ":", 5)[:4], ":"))
	}
	require.Equal(t, []string{
		"svc.yaml:1: service Web: name", "svc.yaml:2: service Web: balance", "svc.yaml:8: service Web: ports[1].name",
		"svc.yaml:5: service Web: vips[1]", "svc.yaml:11: service Web: instances[1].address", "svc.yaml:12: service Web: instances[2]",
	}, got)
}

func TestPlanWarns(t *testing.T) {
	t.Parallel()
	s := storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.1:80", "192.168.1.2:80")
	s.Balance, s.Instances[0].Weight = cluster.BalanceUniform, 5
	plan, err := controlcenter.PlanPublish(snapshot(t, storetest.New()), s)
	require.NoError(t, err)
	require.Contains(t, plan.String(), "warning: balance is uniform, so the weights of the instances do not count")
	plan, err = controlcenter.PlanPublish(snapshot(t, storetest.New()), storetest.Service(t, "a", "10.10.1.128:8080"))
	require.NoError(t, err)
	require.Contains(t, plan.String(), "warning: it has no instance: connections will be refused until it has one")
	launched := storetest.Service(t, "a", "10.10.1.128:8080")
	launched.Run = &cluster.Run{Command: []string{"/bin/true"}}
	plan, err = controlcenter.PlanPublish(snapshot(t, storetest.New()), launched)
	require.NoError(t, err)
	require.Contains(t, plan.String(), "warning: it has no instance yet: connections will be refused until one that Weir starts is ready")
	launched.Scale = &cluster.Scale{Max: 2, Metrics: []cluster.ScaleMetric{{Metric: "busy", Target: 0.5}}}
	plan, err = controlcenter.PlanPublish(snapshot(t, storetest.New()), launched)
	require.NoError(t, err)
	require.Contains(t, plan.String(), "warning: it has no instance yet: connections will wait until one that Weir starts is ready")
	s.Instances[0].Standby, s.Instances[1].Standby = true, true
	plan, err = controlcenter.PlanPublish(snapshot(t, storetest.New()), s)
	require.NoError(t, err)
	require.Contains(t, plan.String(), "warning: all of its instances stand by: connections will be refused until a control center calls one")
	require.Contains(t, plan.String(), "weight 5, standby")
	s.Scale = &cluster.Scale{Max: 2, Metrics: []cluster.ScaleMetric{{Metric: "busy", Target: 0.5}}}
	plan, err = controlcenter.PlanPublish(snapshot(t, storetest.New()), s)
	require.NoError(t, err)
	require.Contains(t, plan.String(), "warning: all of its instances stand by: connections will wait until a control center calls one")
}

func TestPlanWithdraw(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	_, err := controlcenter.PlanWithdraw(t.Context(), f, snapshot(t, f), "a")
	require.EqualError(t, err, `service "a" does not exist, and there is none: publish one first`)
	f.Put(t, storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.1:80"))
	_, err = controlcenter.PlanWithdraw(t.Context(), f, snapshot(t, f), "b")
	require.EqualError(t, err, `service "b" does not exist: there are a`)
	plan, err := controlcenter.PlanWithdraw(t.Context(), f, snapshot(t, f), "a")
	require.NoError(t, err)
	require.Equal(t, "service a is withdrawn\n  - service a\n  - frontend 10.10.1.128:8080\n  - instance 192.168.1.1:80", plan.String())
	require.IsType(t, cluster.Withdraw{}, plan.Change())
}
