package integration

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// TestTraffic is the promise itself: clients on a node and clients routed through one reach all instances.
func TestTraffic(t *testing.T) {
	t.Parallel()
	for _, server := range []struct{ name, program string }{{"embedded etcd", ""}, {"etcd of the distribution", "etcd"}} {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			w := world(t, Options{Nodes: 2, Etcd: server.program})
			instances := map[bool][]string{false: w.ServeAll(3, false), true: w.ServeAll(3, true)}
			for _, proto := range []cluster.Proto{cluster.TCP, cluster.UDP} {
				for _, v6 := range []bool{false, true} {
					f := w.Frontend(proto, v6)
					name := fmt.Sprintf("%s-v6-%t", proto, v6)
					w.Publish(Service(name, f, instances[v6]...))
					t.Run(name, func(t *testing.T) {
						w := w.With(t)
						w.Only(w.Nodes[0], f, instances[v6]...)
						w.Only(w.Nodes[1], f, instances[v6]...)
						w.Only(w.Client, f, instances[v6]...)
						w.Publish(Service(name, f, instances[v6][1:]...))
						// A new datagram may come from a source port that was used before: its flow has to be gone.
						gone := netip.MustParseAddrPort(instances[v6][0]).Addr()
						for _, node := range w.Nodes {
							w.Eventually(time.Second+promised, "flows to the instance that went are gone", func() bool {
								return proto == cluster.TCP || w.Flows(node, f, gone) == 0
							})
						}
						w.Only(w.Nodes[0], f, instances[v6][1:]...)
						w.Only(w.Client, f, instances[v6][1:]...)
					})
				}
			}
		})
	}
}
