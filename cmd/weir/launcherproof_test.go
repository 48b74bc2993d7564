package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/lab"
	"github.com/weir-lb/weir/launcher/keep"
)

// A user proves nothing to an etcd that takes every user.
func TestLauncherAsksEtcd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	list := filepath.Join(dir, "list.yaml")
	require.NoError(t, os.WriteFile(list, []byte("drivers: [external]\nservices: [a]\n"), 0o600))
	password := filepath.Join(dir, "password")
	require.NoError(t, os.WriteFile(password, []byte("secret\n"), 0o600))
	c := newClinic(t)
	launcher := func(flags ...string) []string {
		return append([]string{"launcher", "--node", "n1", "--node-ip", "192.0.2.1", "--list", list, "--etcd-user", "weir-node-n1", "--etcd-password-file", password}, flags...)
	}
	run := func(ctx context.Context, flags ...string) (int, string) {
		var talk bytes.Buffer
		code := newApp(nil, io.Discard, &talk).execute(ctx, append([]string{"weir", "--etcd", c.endpoint}, launcher(flags...)...))
		return code, talk.String()
	}
	limited, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	code, talk := run(limited, "--listen=")
	require.Equal(t, 3, code, talk)
	require.Contains(t, talk, "authentication is off at "+c.endpoint)

	works := func(flags ...string) {
		t.Helper()
		address := lab.Loopback().String()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan int, 1)
		go func() {
			code, _ := run(ctx, append(flags, "--listen", address)...)
			ended <- code
		}()
		require.Eventually(t, func() bool {
			answer, err := http.Get("http://" + address + "/readyz")
			if err != nil {
				return false
			}
			defer answer.Body.Close()
			return answer.StatusCode == http.StatusOK
		}, 20*time.Second, 20*time.Millisecond)
		cancel()
		require.Zero(t, <-ended)
	}
	works("--insecure-etcd") // it is on loopback
	c.authenticate(t, "n1")
	works()
}

// assignments counts who watches them.
type assignments struct {
	keep.Store
	watched int
}

func (a *assignments) WatchAssigned(context.Context, string, func(map[string]cluster.Assignment, []cluster.Problem)) error {
	a.watched++
	return nil
}

func TestNothingIsObeyedBeforeTheProof(t *testing.T) {
	t.Parallel()
	type answer struct {
		on  bool
		err error
	}
	away := answer{err: errors.New("away")}
	for name, test := range map[string]struct {
		answers []answer
		watched int
		err     error
		after   time.Duration
	}{
		"on":                 {[]answer{{on: true}}, 1, nil, 0},
		"off":                {[]answer{{}}, 0, cluster.ErrUnsafe, 0},
		"away, then on":      {[]answer{away, away, {on: true}}, 1, nil, 2 * time.Second},
		"away, then off":     {[]answer{away, {}}, 0, cluster.ErrUnsafe, time.Second},
		"away until it ends": {[]answer{away, away, away, away, away}, 0, nil, 4500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4500*time.Millisecond)
			defer cancel()
			inner, begin := &assignments{}, time.Now()
			s := &provenStore{inner, func(context.Context) (bool, error) {
				a := test.answers[0]
				test.answers = test.answers[1:]
				return a.on, a.err
			}, "etcd", slog.New(slog.DiscardHandler)}
			require.ErrorIs(t, s.WatchAssigned(ctx, "n1", nil), test.err, name)
			require.Equal(t, test.watched, inner.watched, name)
			require.Equal(t, test.after, time.Since(begin), name)
		})
	}
}
