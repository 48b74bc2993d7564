package controlcenter_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/controlcenter/storetest"
)

func TestReadConfig(t *testing.T) {
	t.Parallel()
	c, err := controlcenter.ReadConfig("c", []byte("vip_pools: [10.10.0.0/16]\ninstance_networks:\n- 192.168.0.0/16\nnode_addresses: {n1: [192.168.1.1/32]}\npaused: true\n"))
	require.NoError(t, err)
	require.Equal(t, config("10.10.0.0/16").VIPPools, c.Config.VIPPools)
	require.Equal(t, config("192.168.0.0/16").VIPPools, c.Config.InstanceNetworks)
	require.Equal(t, config("192.168.1.1/32").VIPPools, c.Config.NodeAddresses["n1"])
	require.True(t, c.Config.Paused)
	require.False(t, c.KeepPause)
	c, err = controlcenter.ReadConfig("c", []byte("vip_pools: [10.10.0.0/16]\n"))
	require.NoError(t, err)
	require.True(t, c.KeepPause)
	for file, says := range map[string]string{
		"":                             "it is empty: write {} to remove",
		"paused: true\nvip_pool: []\n": "c:2: config: unknown field \"vip_pool\": its fields are vip_pools",
		"vip_pools: [10.10.0.0]\n":     "10.10.0.0",
		"paused: maybe\n":              "c:1: config: cannot unmarshal",
		"vip_pools: [a\n":              "c:1: config: ",
	} {
		_, err := controlcenter.ReadConfig("c", []byte(file))
		require.ErrorContains(t, err, says)
		require.ErrorAs(t, err, new(*controlcenter.Refusal))
	}
}

func TestPlanConfig(t *testing.T) {
	t.Parallel()
	f := storetest.New()
	f.Put(t, storetest.Service(t, "a", "10.10.1.128:8080", "192.168.1.1:80"))
	_, err := controlcenter.PlanConfig(snapshot(t, f), cluster.SetConfig{Config: config("10.10.0.1/16")}, true)
	require.ErrorContains(t, err, "10.10.0.1/16 is not a usable network")
	for name, c := range map[string]*cluster.Config{"VIP": config("10.99.0.0/16"), "instance": config("10.10.0.0/16", "172.16.0.0/12")} {
		_, err = controlcenter.PlanConfig(snapshot(t, f), cluster.SetConfig{Config: c}, false)
		require.ErrorIs(t, err, cluster.ErrUnsafe, name)
		require.ErrorContains(t, err, "service a", name)
		_, err = controlcenter.PlanConfig(snapshot(t, f), cluster.SetConfig{Config: c}, true)
		require.NoError(t, err, name)
	}
	change, err := controlcenter.PlanConfig(snapshot(t, f), cluster.SetConfig{Config: config("10.10.0.0/16", "192.168.0.0/16"), KeepPause: true}, false)
	require.NoError(t, err)
	require.True(t, change.(cluster.SetConfig).KeepPause)
}
