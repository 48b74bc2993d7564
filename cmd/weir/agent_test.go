package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/agent"
	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/rules/rulestest"
)

func TestOnceWithoutEtcd(t *testing.T) {
	t.Parallel()
	for _, dryRun := range []bool{false, true} {
		store, err := etcd.Open(t.Context(), etcd.Config{Endpoints: []string{"http://127.0.0.1:1"}})
		require.NoError(t, err)
		defer store.Close()
		a, err := agent.New(agent.Config{Node: "n1", Driver: rulestest.NewFake(1), Source: source{store}, Report: store})
		require.NoError(t, err)
		app := newApp(nil, &bytes.Buffer{}, &bytes.Buffer{})
		app.etcd.timeout = 300 * time.Millisecond
		err = runOnce(t.Context(), app, &agentOptions{dryRun: dryRun}, a)
		require.Equal(t, 5, exitCode(err), "%v", err)
		require.ErrorContains(t, err, "see that etcd runs and that --etcd names it")
	}
}
