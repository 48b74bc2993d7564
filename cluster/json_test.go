package cluster_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

func TestInstanceJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(instance(t, "192.168.1.1:80"))
	require.NoError(t, err)
	require.JSONEq(t, `{"address": "192.168.1.1:80"}`, string(text), "defaults are left out")
	for _, bad := range []string{`{"adress": "192.168.1.1:80"}`, `{"address": "x"}`, `{"address": "1.1.1.1:1", "weight": "2"}`, `"1.1.1.1:1"`} {
		require.Error(t, json.Unmarshal([]byte(bad), new(cluster.Instance)), bad)
	}
}

func TestInstanceJSONRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := instance(t, rapid.SampledFrom([]string{"192.168.1.1:80", "192.168.1.1", "[fd00::1]:80", "fd00::1"}).Draw(t, "address"))
		want.Weight = rapid.IntRange(0, 1000).Draw(t, "weight")
		if id := rapid.StringMatching(`[a-z0-9:]{0,5}`).Draw(t, "id"); id != "" {
			want.ID = id
		}
		want.Ports = rapid.SampledFrom([]map[string]uint16{nil, {"web": 80}}).Draw(t, "ports")
		want.Labels = rapid.SampledFrom([]map[string]string{nil, {"zone": "east"}}).Draw(t, "labels")
		text, err := json.Marshal(want)
		require.NoError(t, err)
		var got cluster.Instance
		require.NoError(t, json.Unmarshal(text, &got))
		require.Equal(t, want, got)
	})
}
