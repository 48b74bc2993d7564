package doctor

import (
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/controlcenter"
	"github.com/weir-lb/weir/etcd"
)

// Cluster is what is known of an etcd and of what the nodes told it.
type Cluster struct {
	Prefix   string // of all keys
	Etcd     *etcd.Diagnosis
	Snapshot Fact[*cluster.Snapshot]
	Fleet    Fact[controlcenter.Fleet]
	Monitors Fact[map[string]error] // why a node's load monitor did not answer, by node; only of those that were asked
	Now      time.Time
}

// clusterChecks are those of the cluster, in the order in which one would look.
var clusterChecks = []check[*Cluster]{
	{"endpoints", "each endpoint answers", Fail, endpoints},
	{"alarms", "no alarm is raised in etcd", Fail, alarms},
	{"members", "the members are an odd number, more than one, and agree on a leader", Fail, members},
	{"version", "etcd is of a version that is cared for: 3.5.30, 3.6.11, 3.7 or newer", Warn, versions},
	{"space", "the database is well below its quota", Fail, space},
	{"history", "old revisions are compacted away", Warn, history},
	{"tls", "etcd is reached by https, or on this host", Warn, encrypted},
	{"certificates", "no certificate ends within 30 days", Fail, certificates},
	{"authentication", "etcd asks who one is", Warn, authenticated},
	{"rbac", "nobody may do more than weir rbac gives, and nobody less", Warn, roles},
	{"config", "VIPs and instances are confined to networks", Note, confined},
	{"values", "every value can be read", Warn, values},
	{"services", "every service has instances that take connections", Warn, services},
	{"guard", "no node holds deletions back", Warn, guard},
	{"nodes", "every known node is alive, and works from etcd", Warn, nodes},
	{"lag", "the nodes have applied the last change", Warn, lag},
	{"monitors", "the load monitor of every node answers", Warn, loadMonitors},
	{"problems", "no node has a problem", Warn, problems},
	{"insecure", "no agent accepts an unsafe etcd", Warn, insecure},
	{"versions", "all agents are of one version", Note, agents},
	{"clocks", "the nodes' clocks agree", Warn, clocks},
}

// CheckCluster makes the findings of a cluster.
func CheckCluster(c *Cluster) []Finding { return run(clusterChecks, c) }

// CheckEndpoints makes the findings of an etcd of which nobody answers.
func CheckEndpoints(c *Cluster) []Finding { return run(clusterChecks[:1], c) }

// ClusterEntries lists the checks of a cluster.
func ClusterEntries() []Entry { return entries(clusterChecks) }
