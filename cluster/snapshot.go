package cluster

import (
	"net/netip"
	"time"
)

// Snapshot is everything that an agent must know, at one etcd revision. It is immutable.
type Snapshot struct {
	Revision  int64
	Ready     bool  // somebody published once; without it an empty snapshot means nothing
	Barrier   int64 // the revision that a waiting publish wants acknowledged at once
	Config    *Config
	Services  Map[string, *Inputs]
	Nodes     Map[string, *Node]
	Down      map[string]*Down      // nodes that are declared down, whether something of ours runs there or not
	NodeAdmin map[string]*NodeAdmin // what operators say of nodes

	Configured int64 // the revision that Config is of, or of what was written there since and cannot be read; 0: there is none

	Observers *Observers // of instances on hosts without an agent; its pointer changes when they do

	Problems []Problem // values that could not be read, sorted; they are not used, or their last good form is
	Held     *Held     // deletions that are held back, or nil
}

// Held says that a list of etcd looked so wrong that its deletions are not believed yet.
type Held struct {
	Revision int64     `json:"revision"` // pass it to "weir guard accept --revision"
	Deleted  int       `json:"deleted"`  // how many services would go
	Reason   string    `json:"reason"`
	Since    time.Time `json:"since"`
}

// Inputs is everything that Resolve may know of one service, gathered from all keys that speak of it. It is immutable,
// and its pointer changes exactly when something in it does.
type Inputs struct {
	Service    *Service              `json:"service"`
	Registered []Instance            `json:"registered,omitempty"` // of net/instances, sorted by id and node
	Admin      map[string]Admin      `json:"admin,omitempty"`      // by instance id
	Weights    *Weights              `json:"weights,omitempty"`    // nil: the leader said nothing
	Called     *Called               `json:"called,omitempty"`     // who of those that stand by serves; nil: nobody
	Health     map[string]Health     `json:"health,omitempty"`     // by instance id, only those that are not well
	Hosts      map[string]Host       `json:"hosts,omitempty"`      // by instance id: the node that it runs on, where one is known
	Config     *Config               `json:"-"`                    // nil: none
	Lost       map[Frontend]string   `json:"lost,omitempty"`       // frontends that an older service holds: its name
	VIPs       map[netip.Addr]bool   `json:"vips,omitempty"`       // addresses of its instances that are somebody's VIP
	HostVIPs   map[netip.Addr]string `json:"host_vips,omitempty"`  // its VIPs that are really the address of a node: its name
}

// Host is the part of a node's state that decides over its instances.
type Host struct {
	Node  string     `json:"node"`
	Zone  string     `json:"zone,omitempty"`
	Down  *Down      `json:"down,omitempty"`
	Admin *NodeAdmin `json:"admin,omitempty"`
}
