package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
)

// repairs is the page of an agent.
func (a *Agent) repairs() (r cluster.Repairs) {
	a.w.t.Helper()
	code, body := a.Get("/debug/repairs")
	require.Equal(a.w.t, http.StatusOK, code, body)
	require.NoError(a.w.t, json.Unmarshal([]byte(body), &r))
	return r
}

// TestRepairByHand changes single things of an unowned table. Only that is written back, and everybody is told what it
// was, who did it and how long it was wrong.
func TestRepairByHand(t *testing.T) {
	w := world(t, Options{Owner: "off"})
	f, a := w.Frontend(cluster.TCP, false), w.Agents[0]
	w.Publish(Service("a", f, w.ServeAll(3, false)...))
	slots := w.Slots(w.Nodes[0])
	before, err := w.Nodes[0].Output("nft", "list", "table", "ip", "weir")
	require.NoError(t, err)
	shard := shardOf(t, string(before), f)
	key := fmt.Sprintf("%s . tcp . %d", f.VIP, f.Port)
	for i, c := range []struct{ script, what string }{
		{"add rule ip weir dispatch counter accept", "table ip weir: rule made"},
		{fmt.Sprintf("delete element ip weir %s { %s . 1 }", shard, key), "table ip weir: element deleted"},
		{fmt.Sprintf("delete element ip weir %[1]s { %[2]s . 2 }; add element ip weir %[1]s { %[2]s . 2 : 6.6.6.6 . 80 }", shard, key), "table ip weir: element deleted and 1 more changes"},
		{fmt.Sprintf("delete element ip weir services { %s }", key), "table ip weir: element deleted"},
	} {
		w.NFT(w.Nodes[0], c.script)
		w.Eventually(5*time.Second, "it is repaired", func() bool { return a.repairs().Count == i+1 })
		one := a.repairs().Newest[0]
		require.Equal(t, 1, one.Writes, "%s: %+v", c.script, one)
		require.Equal(t, c.what, one.What)
		require.Equal(t, "notice", one.Cause)
		require.Regexp(t, `^nft \(pid \d+\)$`, one.Who)
		require.Less(t, one.WrongMS, 1000.0)
		t.Logf("%s: wrong for %.1f ms", c.what, one.WrongMS)
	}
	require.Equal(t, slots, w.Slots(w.Nodes[0]))
	require.Equal(t, 4.0, a.Metric("weir_agent_repairs_total"))
	w.Eventually(10*time.Second, "each is logged", func() bool {
		return strings.Count(a.Log(), "rules were changed by somebody else and are repaired") == 4
	})
	w.Eventually(10*time.Second, "etcd has it", func() bool {
		told, err := w.Store.Repairs(t.Context())
		require.NoError(t, err)
		return told["n1"].Count == 4
	})
	out := w.Weir("get", "nodes", "-o", "wide")
	require.Contains(t, out, "LAST REPAIR")
	require.Regexp(t, `element deleted by nft \(pid \d+\) at `, out)
}

// shardOf is the map that holds a frontend's slots, by the listing of the stock program.
func shardOf(t *testing.T, listing string, f cluster.Frontend) string {
	t.Helper()
	name := ""
	for line := range strings.Lines(listing) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "map "); ok {
			name = strings.Fields(rest)[0]
		}
		if strings.HasPrefix(name, "endpoints") && strings.Contains(line, fmt.Sprintf("%s . tcp . %d . 0x", f.VIP, f.Port)) {
			return name
		}
	}
	require.FailNow(t, "no slots in "+listing)
	return ""
}

// TestFight has another program delete our table every 10 ms for five seconds. It is still repaired, but at the agent's
// own pace, with an alarm; and when the other gives up, everything is as before.
func TestFight(t *testing.T) {
	w := world(t, Options{Owner: "off", Program: plain}) // processor time is measured
	f, a := w.Frontend(cluster.TCP, false), w.Agents[0]
	instances := w.ServeAll(3, false)
	w.Publish(Service("a", f, instances...))
	foe, err := nftables.New(nftables.WithNetNSFd(int(w.Nodes[0].Netns())), nftables.AsLasting())
	require.NoError(t, err)
	defer func() { require.NoError(t, foe.CloseLasting()) }()
	const blows, every = 500, 10 * time.Millisecond
	used, start := a.CPU(), time.Now()
	tick := time.NewTicker(every)
	defer tick.Stop()
	landed := 0
	for range blows {
		foe.DelTable(&nftables.Table{Name: "weir", Family: nftables.TableFamilyIPv4})
		if foe.Flush() == nil { // else it was not back yet
			landed++
		}
		<-tick.C
	}
	used, took := a.CPU()-used, time.Since(start)
	t.Logf("%d deletions in %s, %d of them of a table that was back: %d repairs, %s of processor time", blows, took.Round(time.Millisecond), landed, a.repairs().Count, used)
	require.Less(t, float64(landed), 80*took.Seconds()/(blows*every).Seconds(), "it does not keep pace with the other")
	require.Less(t, used, took/5)
	code, body := a.Get("/debug/problems")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "another program changes our rules again and again")
	require.Equal(t, 1.0, a.Metric("weir_agent_fight"))
	a.AwaitLog("msg=problem ", 10*time.Second)
	require.Equal(t, 1, strings.Count(a.Log(), "msg=problem "))

	quiet := w.Eventually(5*time.Second, "the rules are back", func() bool { return len(w.placed(w.Nodes[0])) == 1 })
	require.Less(t, quiet, 3*time.Second)
	w.Only(w.Client, f, instances...)
	w.Eventually(20*time.Second, "the alarm ends", func() bool { return a.Metric("weir_agent_fight") == 0 })
	a.AwaitLog(`msg="problem is gone"`, 10*time.Second)
	w.NFT(w.Nodes[0], "delete table ip weir")
	at := w.Eventually(time.Second, "repaired at once again", func() bool { return len(w.placed(w.Nodes[0])) == 1 })
	t.Logf("after the fight: back %s after it was over, and %s after a single deletion", quiet.Round(time.Millisecond), at.Round(time.Millisecond))
}

// placed are the frontends in a node's kernel.
func (w *World) placed(node *lab.Host) map[cluster.Frontend]map[netip.AddrPort]int {
	if out, err := node.Output("nft", "list", "tables"); err != nil || !strings.Contains(string(out), "table ip weir") {
		return nil
	}
	return w.Slots(node)
}
