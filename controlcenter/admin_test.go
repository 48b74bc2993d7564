package controlcenter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ptr[V any](v V) *V { return &v }

func say(t *testing.T, f *storetest.Fake, instance string, w controlcenter.Word) (cluster.Change, error) {
	t.Helper()
	change, err := controlcenter.PlanAdmin(snapshot(t, f), [2]string{"a", instance}, w, noon)
	if err == nil && change != nil {
		_, err = f.Commit(t.Context(), change)
	}
	return change, err
}

func two(t *testing.T) *storetest.Fake {
	f := storetest.New()
	s := storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.1:80", "192.168.1.2:80")
	s.Instances[1].ID = "second"
	f.Put(t, s)
	return f
}

func TestPlanAdminKeepsWhatItDoesNotMention(t *testing.T) {
	t.Parallel()
	f := two(t)
	change, err := say(t, f, "second", controlcenter.Word{Weight: ptr(7), Reason: "new disk"})
	require.NoError(t, err)
	require.Equal(t, cluster.SetAdmin{Service: "a", ID: "second", Admin: &cluster.Admin{Weight: ptr(7), Reason: "new disk", Since: noon}}, change)

	change, err = say(t, f, "192.168.1.2:80", controlcenter.Word{Drain: ptr(true)})
	require.NoError(t, err)
	require.Equal(t, cluster.SetAdmin{Service: "a", ID: "second", Admin: &cluster.Admin{Drain: true, Weight: ptr(7), Since: noon}}, change)

	change, err = say(t, f, "192.168.1.2", controlcenter.Word{Drain: ptr(true)})
	require.NoError(t, err)
	require.Nil(t, change, "it is so already")

	_, err = say(t, f, "second", controlcenter.Word{Drain: ptr(false)})
	require.NoError(t, err)
	change, err = say(t, f, "second", controlcenter.Word{ClearWeight: true})
	require.NoError(t, err)
	require.Equal(t, cluster.SetAdmin{Service: "a", ID: "second"}, change, "nothing is left to say")
}

func TestPlanAdminRefuses(t *testing.T) {
	t.Parallel()
	f := two(t)
	_, err := say(t, f, "third", controlcenter.Word{Drain: ptr(true)})
	require.EqualError(t, err, `instance "third" of service a does not exist: there are 192.168.1.1:80, second`)
	_, err = controlcenter.PlanAdmin(snapshot(t, f), [2]string{"b", "x"}, controlcenter.Word{}, noon)
	require.EqualError(t, err, `service "b" does not exist: there are a`)
	for _, weight := range []int{-1, 1001} {
		_, err = say(t, f, "second", controlcenter.Word{Weight: &weight})
		require.ErrorContains(t, err, "is outside 0..1000")
	}
	require.Zero(t, f.Writes())
}

func TestPlanAdminRefusesAnAmbiguousHost(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.1:80", "192.168.1.1:81"))
	_, err := say(t, f, "192.168.1.1", controlcenter.Word{Drain: ptr(true)})
	require.ErrorContains(t, err, `"192.168.1.1" fits 2 instances`)
}

func TestPlanAdminKeepsTheLastOne(t *testing.T) {
	t.Parallel()
	f := two(t)
	_, err := say(t, f, "second", controlcenter.Word{Drain: ptr(true)})
	require.NoError(t, err)
	for _, w := range []controlcenter.Word{{Drain: ptr(true)}, {Weight: ptr(0)}} {
		_, err = say(t, f, "192.168.1.1:80", w)
		require.ErrorIs(t, err, cluster.ErrUnsafe)
	}
	_, err = say(t, f, "192.168.1.1:80", controlcenter.Word{Drain: ptr(true), Force: true})
	require.NoError(t, err)
	_, err = say(t, f, "192.168.1.1:80", controlcenter.Word{Weight: ptr(0)})
	require.NoError(t, err, "nobody is served already")
}

func TestPlanAdminTakesBackWhatWasSaidOfAnInstanceThatLeft(t *testing.T) {
	t.Parallel()
	f := two(t)
	_, err := say(t, f, "second", controlcenter.Word{Drain: ptr(true)})
	require.NoError(t, err)
	f.Put(t, storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.1:80"))
	change, err := say(t, f, "second", controlcenter.Word{Drain: ptr(false)})
	require.NoError(t, err)
	require.Equal(t, cluster.SetAdmin{Service: "a", ID: "second"}, change)
}
