package etcd

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestSecret(t *testing.T) {
	t.Parallel()
	_, as := secured(t)
	none, err := as("weir-node-n1").Secret(t.Context())
	require.NoError(t, err)
	require.Empty(t, none, "nobody made one")
	reigns, _ := stand(t, as("weir-controlcenter"), "cc1", long)
	one := next(t, "cc1", reigns)
	for _, token := range []string{strings.Repeat("a", minToken), strings.Repeat("b", maxToken)} {
		_, err = one.Write(t.Context(), cluster.SetSecret{Token: token})
		require.NoError(t, err)
		for _, user := range []string{"weir-node-n1", "weir-controlcenter", "weir-operator"} {
			got, err := as(user).Secret(t.Context())
			require.NoError(t, err, user)
			require.Equal(t, token, got, user)
		}
	}
	_, err = as("weir-viewer").Secret(t.Context())
	require.ErrorIs(t, err, cluster.ErrDenied)
	for _, bad := range []string{"", "short", strings.Repeat("a", maxToken+1), strings.Repeat("a", minToken) + "\r\nHost: x", strings.Repeat("ü", minToken)} {
		_, err = one.Write(t.Context(), cluster.SetSecret{Token: bad})
		require.Error(t, err, bad)
		if bad != "" {
			require.NotContains(t, err.Error(), bad, "a secret is in no message")
		}
	}
}

func TestSecretThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := open(t, server(t).Endpoint())
	for _, value := range []string{"null", "{}", `{"token":"hunter2"}`, "hunter2", `{"token":["hunter2"]}`, `{"token":"` + strings.Repeat("hunter2 ", 9) + `"}`} {
		_, err := raw(t, s).Put(t.Context(), s.prefix+"ops/secret", value)
		require.NoError(t, err)
		token, err := s.Secret(t.Context())
		require.Empty(t, token)
		require.ErrorContains(t, err, "key ops/secret: ", value)
		require.ErrorContains(t, err, "delete it: the leader makes a new one")
		require.NotContains(t, err.Error(), "hunter2")
	}
	more := `{"token":"` + strings.Repeat("x", minToken) + `","since":"2026-01-02T03:04:05Z"}`
	_, err := raw(t, s).Put(t.Context(), s.prefix+"ops/secret", more)
	require.NoError(t, err)
	token, err := s.Secret(t.Context())
	require.NoError(t, err, "a newer leader may say more")
	require.Len(t, token, minToken)
}
