package chaos

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
	"github.com/weir-lb/weir/internal/lab"
)

// racingClaims has two operators publish different services on one VIP at the same time, again and again.
func racingClaims(r *run) {
	const rounds = 50
	w := r.world(integration.Options{})
	addresses := w.ServeAll(2, false)
	var writers [2]*etcd.Store
	for i := range writers {
		s, err := etcd.Open(r.Context(), etcd.Config{Endpoints: strings.Split(w.Endpoint(), ",")})
		require.NoError(r, err)
		r.Cleanup(func() { require.NoError(r, s.Close()) })
		writers[i] = s
	}
	expected, last := want{}, int64(0)
	for round := range rounds {
		f := w.Frontend(cluster.TCP, false)
		var revisions [2]int64
		var errs [2]error
		var both sync.WaitGroup
		for i, s := range writers {
			both.Go(func() {
				service := integration.Service(fmt.Sprintf("%c-%d", 'a'+i, round), f, addresses[i])
				revisions[i], errs[i] = s.Commit(r.Context(), cluster.Publish{Service: service})
			})
		}
		both.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		require.NoError(r, errs[winner])
		var taken *cluster.TakenError
		require.True(r, errors.As(errs[1-winner], &taken), "the second one got: %v", errs[1-winner])
		require.Equal(r, fmt.Sprintf("%c-%d", 'a'+winner, round), taken.Owner)
		expected.set(f, addresses[winner])
		last = max(last, revisions[winner])
	}
	w.Await(last)
	equal := 0
	for _, host := range w.Nodes {
		if differences(expected, w.Slots(host)) == 0 {
			equal++
		}
	}
	r.figure("nodes_equal_percent", 100*float64(equal)/float64(len(w.Nodes)))
	require.Equal(r, len(w.Nodes), equal)
}

// circles are instances that are VIPs: a service's own, each other's, and a chain of three.
func circles(r *run) {
	b := r.bystander(integration.Options{})
	node := b.Nodes[0]
	b.NFT(node, "table inet count { chain post { type filter hook postrouting priority 300; udp dport 8080 counter; }; }")
	var vips []netip.Addr
	for range 6 {
		vips = append(vips, b.Frontend(cluster.UDP, false).VIP)
	}
	next := []int{0, 2, 1, 4, 5, 3}
	var frontends []cluster.Frontend
	for i, vip := range vips {
		name, f := fmt.Sprintf("circle-%d", i), cluster.Frontend{VIP: vip, Proto: cluster.UDP, Port: 8080}
		frontends = append(frontends, f)
		to := netip.AddrPortFrom(vips[next[i]], 8080).String()
		b.Put("net/services/"+name, b.value(name, map[string]any{
			"vips": []string{vip.String()}, "ports": []any{map[string]any{"port": 8080, "protocol": "udp"}}, "instances": []any{map[string]any{"address": to}},
		}))
	}
	for i := range vips {
		to := netip.AddrPortFrom(vips[i], 8080).String()
		b.file(b.value("late-"+strconv.Itoa(i), map[string]any{"instances": []any{map[string]any{"address": to}}}))
	}
	require.Zero(r, b.unmoved())
	for _, f := range frontends {
		for _, from := range []*lab.Host{b.Client, node} {
			before, passed := b.Loopback(node), r.counted(node)
			load := integration.Load(f, 1)
			load.Timeout = 300e6
			result, err := lab.Flood(r.Context(), from.Namespace, load)
			require.NoError(r, err)
			require.Equal(r, 1, result.Failed)
			r.most("packets", float64(max(int64(b.Loopback(node)-before), int64(r.counted(node)-passed))))
		}
	}
	require.LessOrEqual(r, r.line.Figures["packets"], 1.0)
}

// counted reads the counter of table count.
func (r *run) counted(node *lab.Host) int {
	r.Helper()
	out, err := node.Output("nft", "list", "table", "inet", "count")
	require.NoError(r, err)
	_, after, _ := strings.Cut(string(out), "packets ")
	n, err := strconv.Atoi(strings.Fields(after)[0])
	require.NoError(r, err)
	return n
}

// forbiddenAddresses can be neither VIP nor instance.
func forbiddenAddresses(r *run) {
	b := r.bystander(integration.Options{})
	for i, address := range []string{
		"127.0.0.1", "127.1.2.3", "169.254.169.254", "224.0.0.1", "239.1.1.1", "0.0.0.0", "0.1.2.3", "255.255.255.255", "240.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:192.168.10.100",
		"fe80::1", "fe80::1%eth0", "::", "::1", "ff02::1", "192.168.010.100", "0x7f.1", "2130706433", "192.168.10", "", "localhost",
	} {
		instance := address + ":80"
		if strings.Contains(address, ":") {
			instance = "[" + address + "]:80"
		}
		for what, change := range map[string]map[string]any{
			"vip":      {"vips": []string{address}},
			"instance": {"instances": []any{map[string]any{"address": instance}}},
		} {
			name := fmt.Sprintf("%s-%d", what, i)
			b.file(b.value(name, change))
			if what == "vip" {
				b.Put("net/services/"+name, b.value(name, change))
				continue
			}
			// Beside a good one, which must go on to take all the traffic.
			change["instances"] = append(change["instances"].([]any), map[string]any{"address": b.instances[1]})
			f := b.Frontend(cluster.TCP, false)
			change["vips"] = []string{f.VIP.String()}
			b.Put("net/services/"+name, b.value(name, change))
		}
	}
	b.unmoved()
	leaks := 0
	for f, targets := range b.Slots(b.Nodes[0]) {
		for target := range targets {
			if !strings.HasPrefix(target.String(), "192.168.10.10") || !strings.HasPrefix(f.VIP.String(), "10.10.") {
				leaks++
			}
		}
	}
	r.figure("leaks", float64(leaks))
	require.Zero(r, leaks)
}

// foreignVIPs belong to somebody else: outside the pools, or the address of a node.
func foreignVIPs(r *run) {
	b := r.bystander(integration.Options{})
	for _, vip := range []string{b.Nodes[0].Addr4.String(), b.Nodes[0].Addr6.String()} { // without pools, nodes are known
		b.file(b.value("x", map[string]any{"vips": []string{vip}}))
		b.Put("net/services/x", b.value("x", map[string]any{"vips": []string{vip}}))
	}
	b.Commit(cluster.SetConfig{Config: &cluster.Config{VIPPools: []netip.Prefix{integration.VIPs4}}})
	for _, vip := range []string{"10.11.0.1", "192.168.10.254", "192.168.10.60", b.Instances[0].Addr4.String(), b.Nodes[0].Addr4.String(), "8.8.8.8", "fd99::1"} {
		b.file(b.value("x", map[string]any{"vips": []string{vip}}))
		b.Put("net/services/x", b.value("x", map[string]any{"vips": []string{vip}}))
	}
	wrong := b.unmoved()
	r.figure("accepted", float64(wrong))
	require.Zero(r, wrong)
}

// oddPorts are no ports; one address and port is two frontends with two protocols.
func oddPorts(r *run) {
	b := r.bystander(integration.Options{})
	for i, port := range []any{0, 65536, -1, 1 << 40, "80-90", "http", 80.5, nil} {
		ports := map[string]any{"ports": []any{map[string]any{"port": port}}}
		b.file(b.value("x", ports))
		b.Put(fmt.Sprintf("net/services/odd-%d", i), b.value(fmt.Sprintf("odd-%d", i), ports))
	}
	for i, instance := range []string{"192.168.10.100:0", "192.168.10.100:65536", "192.168.10.100:-1", "192.168.10.100:80-90", "192.168.10.100:"} {
		change := map[string]any{"instances": []any{map[string]any{"address": instance}}}
		b.file(b.value("x", change))
		b.Put(fmt.Sprintf("net/services/instance-%d", i), b.value(fmt.Sprintf("instance-%d", i), change))
	}
	b.unmoved()
	wrong := 0
	for f, targets := range b.Slots(b.Nodes[0]) {
		for target := range targets {
			if f.Port == 0 || target.Port() == 0 {
				wrong++
			}
		}
	}
	require.Zero(r, wrong)
	f := b.Frontend(cluster.TCP, false)
	udp := f
	udp.Proto = cluster.UDP
	b.Publish(integration.Service("tcp", f, b.instances[0]), integration.Service("udp", udp, b.instances[1]))
	b.Only(b.Client, f, b.instances[0])
	b.Only(b.Client, udp, b.instances[1])
	r.figure("served_wrongly", float64(wrong))
}
