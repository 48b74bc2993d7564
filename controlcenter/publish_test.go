package controlcenter_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

func entry(s *cluster.Service) []controlcenter.Entry { return []controlcenter.Entry{{Service: s}} }

func TestPublishTwiceWritesOnce(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	s := storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.1:80")
	for i := range 2 {
		done, err := controlcenter.Publish(t.Context(), f, entry(s), controlcenter.How{})
		require.NoError(t, err)
		require.Equal(t, i == 0, done[0].Revision > 0)
	}
	require.Equal(t, 1, f.Writes())
}

func TestPublishPlansAnewWhenSomebodyWasFaster(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.1:80"))
	races := 0
	f.Before = func(cluster.Change) error {
		if races++; races < 4 {
			f.Put(t, storetest.Service(t, "a", "10.10.1.128:8080", fmt.Sprintf("192.168.9.%d:80", races)))
		}
		return nil
	}
	var last controlcenter.Plan
	done, err := controlcenter.Publish(t.Context(), f, entry(storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.2:80")), controlcenter.How{Show: func(p controlcenter.Plan) { last = p }})
	require.NoError(t, err)
	require.Equal(t, 4, races)
	require.Contains(t, last.String(), "- instance 192.168.9.3:80", "the plan that was written is the plan that was shown last")
	require.Equal(t, last.String(), done[0].Plan.String())
}

func TestPublishGivesUpOnARaceThatNeverEnds(t *testing.T) {
	t.Parallel()
	f, n := storetest.New(), 0
	f.Before = func(cluster.Change) error {
		n++
		f.Put(t, storetest.Service(t, "a", "10.10.1.128:8080", fmt.Sprintf("192.168.9.%d:80", n)))
		return nil
	}
	_, err := controlcenter.Publish(t.Context(), f, entry(storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.2:80")), controlcenter.How{})
	require.ErrorIs(t, err, cluster.ErrConflict)
	require.Equal(t, 5, n)
}

func TestPublishDoesNotFightForAVIP(t *testing.T) {
	t.Parallel()
	f, n := storetest.New(), 0
	f.Before = func(cluster.Change) error {
		if n++; n == 1 {
			f.Put(t, storetest.Service(t, "thief", "10.10.1.128:8080"))
		}
		return nil
	}
	_, err := controlcenter.Publish(t.Context(), f, entry(storetest.Service(t, "a", "10.10.1.128:8080")), controlcenter.How{})
	require.ErrorIs(t, err, cluster.ErrConflict)
	require.ErrorContains(t, err, "taken by service thief")
	require.Equal(t, 1, n)
}

func TestPublishTakesTheNextVIPWhenTheChosenOneWentAway(t *testing.T) {
	t.Parallel()
	f, n := storetest.New(), 0
	f.Edit(func(d *cluster.Draft) { d.Config(config("10.10.0.0/24")) })
	f.Before = func(cluster.Change) error {
		if n++; n == 1 {
			f.Put(t, storetest.Service(t, "thief", "10.10.0.1:80"))
		}
		return nil
	}
	s := storetest.Service(t, "a", "10.10.0.1:80")
	s.VIPs = nil
	done, err := controlcenter.Publish(t.Context(), f, entry(s), controlcenter.How{})
	require.NoError(t, err)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.10.0.2")}, done[0].Plan.Service.VIPs)
}

// The second service of the file is bad: the first must not be written either.
func TestPublishWritesNothingOfABadFile(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	good, bad := storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.1:80"), storetest.Service(t, "b", "10.10.1.129:8080", "127.0.0.1:80")
	_, err := controlcenter.Publish(t.Context(), f, append(entry(good), entry(bad)...), controlcenter.How{})
	require.ErrorContains(t, err, "loopback")
	require.Zero(t, f.Writes())
}

func TestPublishSaysWhatWasWrittenBeforeItBroke(t *testing.T) {
	t.Parallel()
	f, n := storetest.New(), 0
	f.Before = func(cluster.Change) error {
		if n++; n == 2 {
			return storetest.ErrUnreachable
		}
		return nil
	}
	done, err := controlcenter.Publish(t.Context(), f, append(entry(storetest.Service(t, "a", "10.10.1.128:1")), entry(storetest.Service(t, "b", "10.10.1.128:2"))...), controlcenter.How{})
	require.ErrorIs(t, err, cluster.ErrUnreachable)
	require.Len(t, done, 1)
	require.Equal(t, "a", done[0].Plan.Name)
}

func TestPublishKeepsTheReasonOfTheStore(t *testing.T) {
	t.Parallel()
	for _, reason := range []error{cluster.ErrDenied, cluster.ErrUnreachable, errors.New("disk full")} {
		f := storetest.New()
		f.Fail(reason)
		_, err := controlcenter.Publish(t.Context(), f, entry(storetest.Service(t, "a", "10.10.1.128:1")), controlcenter.How{})
		require.ErrorIs(t, err, reason)
		_, err = controlcenter.Withdraw(t.Context(), f, "a", controlcenter.How{})
		require.ErrorIs(t, err, reason)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "a", "10.10.1.128:8080"), storetest.Service(t, "b", "10.10.1.129:8080"))
	once := false
	f.Before = func(cluster.Change) error {
		if !once {
			once = true
			f.Put(t, storetest.Service(t, "a", "10.10.1.128:8081"))
		}
		return nil
	}
	done, err := controlcenter.Withdraw(t.Context(), f, "a", controlcenter.How{})
	require.NoError(t, err)
	require.Contains(t, done.Plan.String(), "10.10.1.128:8081", "what is withdrawn is what stood there last")
	rows, err := controlcenter.Services(snapshot(t, f), "")
	require.NoError(t, err)
	require.Len(t, rows, 1)
}
