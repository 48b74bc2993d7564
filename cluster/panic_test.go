package cluster_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

// word is what a monitor says of one instance that fails: first that it is suspect, then that it is failing.
func word(v cluster.Verdict, began time.Time) cluster.Health {
	if v == cluster.Suspect {
		return cluster.Health{Verdict: v, Reason: "timeout", Since: began}
	}
	return cluster.Health{Verdict: v, Reason: "timeout", Since: began.Add(4 * time.Second), Began: began}
}

func tell(d *cluster.Draft, i int, h cluster.Health) {
	said := cluster.NodeHealth{"a": {fmt.Sprintf("i%02d", i+1): h}}
	if h.Verdict == "" {
		said = nil
	}
	d.Health(nodeName(i), said)
}

func statuses(t require.TestingT, d *cluster.Draft) (out []cluster.Status) {
	in, ok := d.Snapshot(1).Services.Get("a")
	require.True(t, ok)
	for _, s := range cluster.Resolve(in).Instances {
		out = append(out, s.Status)
	}
	return out
}

// Suspects whose failures began with those of an instance keep it in, together with the failing ones; others do not.
func TestSuspectsCountWithThoseThatBeganToFailWithThem(t *testing.T) {
	t.Parallel()
	d := fleet(5)
	check := &cluster.Check{TCP: &cluster.TCPCheck{}} // each 2s, for 1s at most
	in, _ := d.Snapshot(1).Services.Get("a")
	service := *in.Service
	service.Check, service.ModRevision = check, 2
	d.Service("a", &service)

	tell(d, 0, word(cluster.Suspect, since(0)))
	r := resolved(t, d.Snapshot(1), "a")
	require.Equal(t, cluster.IsSuspect, r.Instances[0].Status)
	require.True(t, r.Instances[0].Takes())
	require.Equal(t, "used, but it may be failing: timeout", r.Instances[0].Reason)
	require.Equal(t, since(0), r.Instances[0].Since)
	require.Empty(t, r.Problems, "one check that fails is no problem yet")
	require.Len(t, r.Targets(r.Frontends[0]), 5)

	tell(d, 0, word(cluster.Failing, since(0)))
	require.Equal(t, []cluster.Status{cluster.IsFailing, cluster.Serving, cluster.Serving, cluster.Serving, cluster.Serving}, statuses(t, d))
	tell(d, 1, word(cluster.Suspect, since(3)))
	require.Equal(t, cluster.IsFailing, statuses(t, d)[0], "two of five")
	tell(d, 2, word(cluster.Suspect, since(4)))
	r = resolved(t, d.Snapshot(1), "a")
	require.Equal(t, cluster.Panic, r.Instances[0].Status)
	require.Equal(t, "used although failing, since 3 of 5 fail: timeout", r.Instances[0].Reason)
	require.Equal(t, "service a: instances: 3 of 5 instances that are alive fail their checks at once, so all are used: "+
		"look for what they share: the check itself, a database, the network", r.Problems[0].Error())
	require.Len(t, r.Targets(r.Frontends[0]), 5)

	tell(d, 2, word(cluster.Suspect, since(5)))
	require.Equal(t, cluster.IsFailing, statuses(t, d)[0], "its failures began 5 s later: more than interval, timeout and the clocks' difference")
	tell(d, 2, word(cluster.Failing, since(8)))
	require.Equal(t, []cluster.Status{cluster.Panic, cluster.IsSuspect, cluster.IsFailing, cluster.Serving, cluster.Serving}, statuses(t, d),
		"two that fail and one suspect: it counts only with the one that it began with")
	tell(d, 1, word(cluster.Failing, since(3)))
	require.Equal(t, []cluster.Status{cluster.Panic, cluster.Panic, cluster.Panic, cluster.Serving, cluster.Serving}, statuses(t, d))
	tell(d, 1, cluster.Health{})
	require.Equal(t, []cluster.Status{cluster.IsFailing, cluster.Serving, cluster.IsFailing, cluster.Serving, cluster.Serving}, statuses(t, d))
}

// A suspect of long ago, as of a monitor that is gone, keeps nobody in.
func TestAForgottenSuspectKeepsNobodyIn(t *testing.T) {
	t.Parallel()
	d := fleet(2)
	tell(d, 0, word(cluster.Suspect, since(0)))
	tell(d, 1, word(cluster.Failing, since(40)))
	require.Equal(t, []cluster.Status{cluster.IsSuspect, cluster.IsFailing}, statuses(t, d))
}

func TestWhatMostHaveIsNoReasonToEject(t *testing.T) {
	t.Parallel()
	d := fleet(5)
	verdicts(d, cluster.Failing, 0, 1, 2)
	d.Weights("a", &cluster.Weights{Ejected: map[string]cluster.Ejection{"i01": {Since: since(1)}, "i04": {Since: since(2)}}})
	require.Equal(t, []cluster.Status{cluster.Panic, cluster.Panic, cluster.Panic, cluster.Ejected, cluster.Serving}, statuses(t, d))
	verdicts(d, cluster.Suspect, 0, 1, 2) // a check that waits for many failures may be behind the leader
	require.Equal(t, []cluster.Status{cluster.IsSuspect, cluster.IsSuspect, cluster.IsSuspect, cluster.Ejected, cluster.Serving}, statuses(t, d))
	tell(d, 1, cluster.Health{})
	require.Equal(t, []cluster.Status{cluster.Ejected, cluster.Serving, cluster.IsSuspect, cluster.Serving, cluster.Serving}, statuses(t, d))
}

// Of three observers those that only suspect count as long as there is no majority for more.
func TestObserversThatSuspect(t *testing.T) {
	t.Parallel()
	suspect, failing := word(cluster.Suspect, since(2)), word(cluster.Failing, since(1))
	for _, test := range []struct {
		name string
		said []cluster.Health
		want cluster.Status
	}{
		{"one is not enough", []cluster.Health{suspect}, cluster.Serving},
		{"two are", []cluster.Health{suspect, suspect}, cluster.IsSuspect},
		{"with one that says failing", []cluster.Health{suspect, failing}, cluster.IsSuspect},
		{"with one that says dead", []cluster.Health{suspect, {Verdict: cluster.Dead}}, cluster.IsSuspect},
		{"with two that say failing", []cluster.Health{suspect, failing, failing}, cluster.IsFailing},
		{"with failing and dead", []cluster.Health{suspect, failing, {Verdict: cluster.Dead}}, cluster.IsFailing},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := cluster.NewDraft()
			d.Service("a", service(t, "a", 4))
			for i := range 3 {
				d.Node(nodeName(i), &cluster.Node{})
			}
			for i, h := range test.said {
				d.Health(nodeName(i), cluster.NodeHealth{"a": {"i01": h}})
			}
			require.Equal(t, test.want, statuses(t, d)[0])
		})
	}
}

// More than half of a service's instances, each on a node of its own, begin to fail within one interval, and their clocks differ
// by up to a second. In whatever order their verdicts arrive, as long as the first failing one comes after all suspects: nobody
// is out, then or later.
func TestNobodyIsOutWhenMostFailAtOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(1, 12).Draw(t, "instances")
		fail := rapid.IntRange(total/2+1, total).Draw(t, "fail")
		d := fleet(total)
		check := cluster.Check{
			TCP: &cluster.TCPCheck{}, Interval: cluster.Duration(rapid.IntRange(200, 10_000).Draw(t, "interval")) * cluster.Duration(time.Millisecond),
		}.WithDefaults()
		in, _ := d.Snapshot(1).Services.Get("a")
		s := *in.Service
		s.Check, s.ModRevision = &check, 2
		d.Service("a", &s)
		began := make([]time.Time, fail)
		for i := range began {
			spread := time.Duration(rapid.Int64Range(0, int64(check.Interval+check.Timeout)).Draw(t, "began"))
			began[i] = since(0).Add(spread).Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "clock")) * time.Millisecond)
		}
		whole := func(when string) {
			for i, status := range statuses(t, d) {
				if status == cluster.IsFailing {
					t.Fatalf("instance %d is out %s", i+1, when)
				}
			}
		}
		all := make([]int, fail)
		for i := range all {
			all[i] = i
		}
		for _, v := range []cluster.Verdict{cluster.Suspect, cluster.Failing} {
			for _, i := range rapid.Permutation(slices.Clone(all)).Draw(t, "order") {
				tell(d, i, word(v, began[i]))
				whole(fmt.Sprintf("when %d is %s", i+1, v))
			}
		}
	})
}

// The other way round, nobody is kept in whom less than half share: not more than half of those alive are failing, or suspect.
func TestFewThatFailAreOut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.IntRange(2, 12).Draw(t, "instances")
		d := fleet(total)
		for i := range rapid.IntRange(1, total/2).Draw(t, "fail") {
			tell(d, i, word(rapid.SampledFrom([]cluster.Verdict{cluster.Suspect, cluster.Failing}).Draw(t, "verdict"), since(rapid.IntRange(0, 2).Draw(t, "began"))))
		}
		require.NotContains(t, statuses(t, d), cluster.Panic)
	})
}
