package integration

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// from makes a service that only some hosts may connect to.
func from(s *cluster.Service, sources ...string) *cluster.Service {
	s.Sources = []netip.Prefix{}
	for _, p := range sources {
		s.Sources = append(s.Sources, netip.MustParsePrefix(p))
	}
	return s
}

// refusals is how many attempts a node counts that it did not admit.
func (w *World) refusals(node *lab.Host, f cluster.Frontend) uint64 {
	w.t.Helper()
	counts, err := w.looking(node).Refused(w.t.Context())
	require.NoError(w.t, err)
	return counts[f]
}

// TestSources admits some clients: others are refused at once and counted, and who is connected stays so.
func TestSources(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2})
	for _, proto := range []cluster.Proto{cluster.TCP, cluster.UDP} {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s-v6-%t", proto, v6), func(t *testing.T) {
				w := w.With(t)
				port := map[cluster.Proto]uint16{cluster.TCP: 81, cluster.UDP: 82}[proto]
				instance, _ := w.Serve(w.Instances[0], port, v6)
				name, f := fmt.Sprintf("%s-%t", proto, v6), w.Frontend(proto, v6)
				client, neighbour, all := "192.168.10.50/32", "192.168.10.2/32", "192.168.0.0/16"
				if v6 {
					client, neighbour, all = "fd00:10::50/128", "fd00:10::2/128", "fd00:10::/64"
				}
				w.Publish(from(Service(name, f, instance), client))
				w.Only(w.Client, f, instance)
				want := unix.ECONNREFUSED
				if proto == cluster.UDP && !w.onIptables() {
					want = unix.EPERM // a sender on the node; iptables answers it
				}
				for _, node := range w.Nodes {
					before := w.refusals(node, f)
					soonest := time.Hour // of three: what is repeated takes a second each time
					for range 3 {
						got := w.refused(node, f, 2*time.Second)
						require.ErrorIs(t, got.err, want)
						soonest = min(soonest, got.took)
					}
					require.Less(t, soonest, time.Second)
					require.Equal(t, before+3, w.refusals(node, f), "attempts that are counted")
				}
				w.Publish(from(Service(name, f, instance), neighbour))
				w.Only(w.Nodes[1], f, instance)
				before := w.refusals(w.Nodes[0], f)
				require.Error(t, w.refused(w.Client, f, time.Second).err)
				require.Greater(t, w.refusals(w.Nodes[0], f), before)

				w.Publish(from(Service(name, f, instance), all))
				for _, host := range []*lab.Host{w.Client, w.Nodes[0], w.Nodes[1]} {
					w.Only(host, f, instance)
				}
				w.Publish(Service(name, f, instance))
				w.Only(w.Client, f, instance)
				w.Withdraw(name)
			})
		}
	}
}

// TestSourcesUnderLoad changes who may connect, and the instances, while a client that may all the time connects.
func TestSourcesUnderLoad(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 1})
	instances, f := w.ServeAll(3, false), w.Frontend(cluster.TCP, false)
	w.Publish(Service("a", f, instances...))
	outsider, err := lab.StartStream(w.Nodes[0].Namespace, lab.StreamOptions{Frontend: Address(f)})
	require.NoError(t, err)
	load := Load(f, 0)
	load.Workers, load.Pause = 4, time.Millisecond
	probe, err := lab.StartProbe(w.Client.Namespace, load)
	require.NoError(t, err)

	for i := range 36 {
		s := Service("a", f, instances[:1+i%3]...)
		switch i % 6 {
		case 0:
			from(s, "192.168.10.50/32")
		case 1:
			from(s, "192.168.10.0/25", "10.0.0.0/8")
		case 2:
			from(s, "192.168.10.48/29")
		case 3:
			from(s, "192.168.0.0/16")
		case 4:
			from(s, "192.168.10.50/32", "192.168.10.99/32")
		}
		w.Publish(s)
	}
	w.Publish(from(Service("a", f, instances...), "192.168.10.50/32"))
	result, err := probe.Stop()
	require.NoError(t, err)
	require.Zero(t, result.Failed, "%s", result)
	require.Greater(t, result.Good(), 200)

	require.Error(t, w.refused(w.Nodes[0], f, 2*time.Second).err, "no longer admitted")
	before := outsider.Snapshot().Answered
	w.Eventually(3*time.Second, "who was connected stays so", func() bool { return outsider.Snapshot().Answered > before+20 })
	r := outsider.Stop()
	require.False(t, r.Broken, r.Reason)
}

// TestLocality has nodes in two zones and one without: each sends to what is near, and to all where nothing near is well.
func TestLocality(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 3, Idle: true})
	for i, zone := range []string{"east", "west", ""} {
		if zone != "" {
			w.Agents[i].Args = append(w.Agents[i].Args, "--label", "zone="+zone)
		}
		w.Agents[i].Start()
	}
	w.AwaitAgents(3)
	var hosted []string
	for _, node := range w.Nodes {
		address, _ := w.Serve(node, 80, false)
		hosted = append(hosted, address)
	}
	n1, n2, n3 := w.Nodes[0], w.Nodes[1], w.Nodes[2]

	near, zone := w.Frontend(cluster.TCP, false), w.Frontend(cluster.TCP, false)
	byNode := Service("near", near, hosted...)
	byNode.Locality = cluster.LocalityNode
	w.Publish(byNode)
	for i, node := range w.Nodes {
		w.Only(node, near, hosted[i])
	}
	w.Only(w.Client, near, hosted[0])
	w.Drain("near", hosted[0], true)
	w.Only(n1, near, hosted[1:]...)
	w.Only(w.Client, near, hosted[1:]...)
	w.Only(n2, near, hosted[1])
	w.Drain("near", hosted[0], false)
	w.Only(n1, near, hosted[0])

	byZone := Service("zone", zone, hosted...)
	byZone.Locality, byZone.Instances[2].Labels = cluster.LocalityZone, map[string]string{cluster.ZoneLabel: "east"}
	revision := w.Write(byZone)
	w.Await(revision)
	w.Only(n1, zone, hosted[0], hosted[2])
	w.Only(n2, zone, hosted[1])
	w.Only(n3, zone, hosted...)
	told := w.Told("n3", 10*time.Second, func(a cluster.Applied) bool { return len(a.Problems) > 0 })
	require.Contains(t, told.Problems[0].Error(), `service zone: locality: prefer-zone: node n3 has no label "zone", so all instances are used`)
	w.Drain("zone", hosted[1], true)
	w.Only(n2, zone, hosted[0], hosted[2])
}

// TestPing asks VIPs whether they are there.
func TestPing(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{false, true} {
		t.Run(fmt.Sprint(answers), func(t *testing.T) {
			t.Parallel()
			o := Options{}
			if answers {
				o.AgentArgs = []string{"--ping"}
			}
			w := world(t, o)
			w.Commit(cluster.SetConfig{Config: &cluster.Config{VIPPools: []netip.Prefix{VIPs4, VIPs6}}})
			for _, v6 := range []bool{false, true} {
				f, unused := w.Frontend(cluster.TCP, v6), w.Frontend(cluster.TCP, v6)
				w.Publish(Service(fmt.Sprintf("v6-%t", v6), f))
				for _, host := range []*lab.Host{w.Client, w.Nodes[0]} {
					if answers {
						w.Eventually(10*time.Second, fmt.Sprintf("%s answers %s", f.VIP, host.Name()), func() bool { return pings(host, f.VIP) })
					} else {
						require.False(t, pings(host, f.VIP), "%s from %s", f.VIP, host.Name())
					}
					require.False(t, pings(host, unused.VIP), "%s is nobody's", unused.VIP)
				}
			}
		})
	}
}

func pings(host *lab.Host, to netip.Addr) bool {
	_, err := host.Output("ping", "-n", "-c", "1", "-W", "1", to.String())
	return err == nil
}

// local is how many new connections a node has counted to an instance.
func (w *World) local(node *lab.Host, proto cluster.Proto, instance string) uint64 {
	w.t.Helper()
	counts, err := w.looking(node).LocalCounts(w.t.Context())
	require.NoError(w.t, err)
	return counts[cluster.Listener{Address: netip.MustParseAddrPort(instance), Proto: proto}]
}

// bridged are two hosts behind a bridge on a node, as a container engine makes them.
func (w *World) bridged(node *lab.Host) (hosts []*lab.Host) {
	w.t.Helper()
	run := func(host *lab.Host, args ...string) {
		out, err := host.Output("ip", args...)
		require.NoError(w.t, err, "ip %v: %s", args, out)
	}
	run(node, "link", "add", "pods", "type", "bridge")
	run(node, "address", "add", "10.30.0.1/24", "dev", "pods")
	run(node, "link", "set", "pods", "up")
	for i := range 2 {
		name := fmt.Sprintf("pod%d", i+1)
		ns, err := w.Lab.Namespace(name)
		require.NoError(w.t, err)
		host := &lab.Host{Namespace: ns, Addr4: netip.AddrFrom4([4]byte{10, 30, 0, byte(i + 2)})}
		require.NoError(w.t, w.Lab.Connect(node.Namespace, ns, name, "eth0", netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 30, 255, byte(i + 2)}), 32), netip.PrefixFrom(host.Addr4, 24)))
		run(node, "link", "set", name, "master", "pods")
		run(host, "route", "add", "default", "via", "10.30.0.1")
		port, err := node.Handle().LinkByName(name)
		require.NoError(w.t, err)
		require.NoError(w.t, node.Handle().LinkSetHairpin(port, true)) // for itself, where bridged packets meet iptables
		hosts = append(hosts, host)
	}
	return hosts
}

// TestLocalCounters counts each new connection to an instance once, at the instance's own node, wherever it comes from;
// and instances behind a bridge, and on the host network, reach themselves and each other by their VIP.
func TestLocalCounters(t *testing.T) {
	t.Parallel()
	w := world(t, Options{Nodes: 2})
	n1, n2 := w.Nodes[0], w.Nodes[1]
	pods := w.bridged(n1)
	for _, host := range []*lab.Host{n2, w.Client} {
		require.NoError(t, host.Route(netip.MustParsePrefix("10.30.0.0/24"), n1.Addr4))
	}
	far, err := w.Lab.Namespace("far") // a client that is routed through the second node
	require.NoError(t, err)
	beyond := &lab.Host{Namespace: far, Addr4: netip.MustParseAddr("10.40.0.2")}
	require.NoError(t, w.Lab.Connect(n2.Namespace, far, "far", "eth0", netip.MustParsePrefix("10.40.0.1/24"), netip.MustParsePrefix("10.40.0.2/24")))
	require.NoError(t, beyond.Route(VIPs4, netip.MustParseAddr("10.40.0.1")))

	for _, proto := range []cluster.Proto{cluster.TCP, cluster.UDP} {
		port := map[cluster.Proto]uint16{cluster.TCP: 81, cluster.UDP: 82}[proto]
		for kind, host := range map[string]*lab.Host{"host": n1, "bridge": pods[0]} {
			name, f := fmt.Sprintf("%s-%s", kind, proto), w.Frontend(proto, false)
			instance, _ := w.Serve(host, port, false)
			w.Publish(Service(name, f))
			w.Put("net/instances/n1/"+name+"/one", fmt.Sprintf(`{"address":%q}`, instance)) // as its node registers it
			w.Eventually(5*time.Second, "the instance is served", func() bool {
				return w.refused(n1, f, time.Second).err == nil && w.refused(n2, f, time.Second).err == nil
			})
			for place, client := range map[string]*lab.Host{
				"of its node": n1, "of another node": n2, "routed through its node": w.Client, "routed through another node": beyond,
				"itself": host, "its neighbour": pods[1],
			} {
				t.Run(fmt.Sprintf("%s, client %s", name, place), func(t *testing.T) {
					w := w.With(t)
					before := w.local(n1, proto, instance)
					w.Flood(client, f, 25)
					require.Equal(t, before+25, w.local(n1, proto, instance))
					require.Zero(t, w.local(n2, proto, instance), "it is not an instance of that node")
				})
			}
		}
	}
}
