package main

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

// excluded has a service with an instance for each way to be left out, and some that serve.
func excluded(t *testing.T) *fake {
	t.Helper()
	f := newFake()
	var addresses []string
	for i := range 16 {
		addresses = append(addresses, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, 1, byte(i + 1)}), 80).String())
	}
	f.Put(t, storetest.Service(t, "a", "10.10.1.1:80", addresses...))
	at := func(minutes int) time.Time { return noon.Add(time.Duration(-minutes) * time.Minute) }
	f.Edit(func(d *cluster.Draft) {
		for i, name := range []string{"n1", "n2", "n3", "n4"} {
			d.Node(name, &cluster.Node{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 1, byte(i + 1)})}})
		}
		d.Down("n3", &cluster.Down{Reason: "its instances do not answer n1 and n2", Since: at(3)})
		d.NodeAdmin("n4", &cluster.NodeAdmin{Drain: true, Reason: "new kernel", Since: at(4)})
		zero := 0
		d.Admin("a", "192.168.1.5:80", &cluster.Admin{Drain: true, Reason: "new disk", Since: at(5)})
		d.Admin("a", "192.168.1.6:80", &cluster.Admin{Standby: true, Since: at(6)})
		d.Admin("a", "192.168.1.7:80", &cluster.Admin{Weight: &zero, Since: at(7)})
		verdict := func(v cluster.Verdict, reason string, minutes int) cluster.Health {
			return cluster.Health{Verdict: v, Reason: reason, Output: "no database", Since: at(minutes)}
		}
		leaving := verdict(cluster.Leaving, "drain", 8) // of an instance without an agent beside it: the majority says so
		d.Health("n1", cluster.NodeHealth{"a": {"192.168.1.8:80": leaving, "192.168.1.1:80": verdict(cluster.Dead, "connection refused", 1)}})
		d.Health("n2", cluster.NodeHealth{"a": {"192.168.1.8:80": leaving, "192.168.1.2:80": verdict(cluster.Failing, "GET /: 503", 2)}})
		d.Health("n4", cluster.NodeHealth{"a": {"192.168.1.8:80": leaving}})
		d.Weights("a", &cluster.Weights{Ejected: map[string]cluster.Ejection{"192.168.1.9:80": {Reason: "5 failures", Since: at(9)}}})
		other, err := cluster.ParseInstance("192.168.1.10:80")
		require.NoError(t, err)
		d.Instance("n1", "a", "other", &other)
		cloud, err := cluster.ParseInstance("169.254.169.254:80")
		require.NoError(t, err)
		d.Instance("n1", "a", "cloud", &cloud)
	})
	return f
}

// Whoever is left out is so in every view alike, with the same reason and since the same moment: all of them show what
// Resolve decides, as the agents install it.
func TestEveryViewTellsTheSameOfWhoIsLeftOut(t *testing.T) {
	t.Parallel()
	f := excluded(t)
	snapshot, err := f.Snapshot(t.Context())
	require.NoError(t, err)
	in, _ := snapshot.Services.Get("a")
	type exclusion struct {
		Status, Reason, Since string
	}
	moment := func(at time.Time) string {
		if at.IsZero() {
			return ""
		}
		return at.UTC().Format(time.RFC3339)
	}
	want, kinds := map[string]exclusion{}, map[cluster.Status]bool{}
	for _, s := range cluster.Resolve(in).Instances {
		if !s.Takes() {
			want[s.Instance.ID] = exclusion{string(s.Status), s.Reason, moment(s.Since)}
			kinds[s.Status] = true
		}
	}
	for _, kind := range []cluster.Status{
		cluster.Refused, cluster.Duplicate, cluster.Draining, cluster.Standby, cluster.Weightless, cluster.IsLeaving, cluster.IsDead, cluster.IsFailing, cluster.Ejected,
	} {
		require.True(t, kinds[kind], "nobody is %s", kind)
	}

	var rows []controlcenter.InstanceRow
	r := weir(t, f, "get", "instances", "a", "-o", "json", "--sample", "0s")
	require.NoError(t, json.Unmarshal([]byte(r.out), &rows), r.err)
	got := map[string]exclusion{}
	for _, row := range rows {
		if row.Weight == 0 {
			got[row.ID] = exclusion{string(row.State), row.Reason, moment(row.Since)}
		}
	}
	require.Equal(t, want, got, "get instances")

	var described struct {
		Members []controlcenter.InstanceRow `json:"members"`
	}
	r = weir(t, f, "describe", "service", "a", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &described), r.err)
	got = map[string]exclusion{}
	for _, row := range described.Members {
		if row.Weight == 0 {
			got[row.ID] = exclusion{string(row.State), row.Reason, moment(row.Since)}
		}
	}
	require.Equal(t, want, got, "describe")

	var e explanation
	r = weir(t, f, "explain", "192.0.2.1", "10.10.1.1:80", "--node", "n1", "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(r.out), &e), r.err)
	got = map[string]exclusion{}
	for _, out := range e.LeftOut {
		since := ""
		if out.Since != "" {
			at, err := time.Parse("2006-01-02 15:04:05Z", out.Since)
			require.NoError(t, err)
			since = moment(at)
		}
		got[out.Instance] = exclusion{out.Status, out.Reason, since}
	}
	require.Equal(t, want, got, "explain")
}
