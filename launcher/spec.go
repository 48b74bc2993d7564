package launcher

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Spec is one instance as it should run.
type Spec struct {
	Kind    cluster.Kind      `json:"kind,omitempty"` // node: a machine that joins the cluster as the node ID; only of driver hook
	ID      string            `json:"id"`             // of this instance, on all nodes and for ever
	Service string            `json:"service"`
	Command []string          `json:"command,omitempty"` // an absolute path and its arguments; no shell reads it
	Image   string            `json:"image,omitempty"`   // of driver hook: what it is to start
	Env     map[string]string `json:"env,omitempty"`     // the service's own environment
	Host    netip.Addr        `json:"host,omitzero"`     // the address that it is reached at; a hook may choose another
	Ports   []cluster.Port    `json:"ports,omitempty"`   // that it is to listen on; the first is PORT

	// LogAddress is where its output is sent as well, as in udp://10.0.0.9:514 or tcp://[fd00::9]:601. Empty: nowhere.
	LogAddress string `json:"logAddress,omitempty"`

	Resources Resources         `json:"resources,omitzero"`
	Labels    map[string]string `json:"labels,omitempty"`  // of a node: that its agent is to have
	User      string            `json:"user,omitempty"`    // a name or a number; empty: the driver's default, never root
	WorkDir   string            `json:"workDir,omitempty"` // empty: the root directory
	Grace     cluster.Duration  `json:"grace,omitempty"`   // from TERM to KILL where a stop does not say; 0: DefaultGrace

	// Resolved is not asked for by anybody: it is where the paths lead on this node, where that was checked. It is what
	// is run, and two Specs that differ in it alone ask for the same: a link may be set anew at any time.
	Resolved Resolved `json:"-"`
}

// Resolved are paths with their links followed; empty is as the Spec says.
type Resolved struct {
	Program string
	WorkDir string
}

// Resources limit an instance with all that it starts. 0 is no limit.
type Resources struct {
	CPU    float64 `json:"cpu,omitempty"`    // processors
	Memory uint64  `json:"memory,omitempty"` // bytes
}

// Patience is the grace, or what it is by default.
func (s Spec) Patience() time.Duration {
	return time.Duration(cmp.Or(s.Grace, cluster.Duration(DefaultGrace)))
}

// Equal says whether two Specs ask for the same. An empty list or map is the same as none.
func (s Spec) Equal(other Spec) bool {
	a, aerr := json.Marshal(s)
	b, berr := json.Marshal(other)
	return aerr == nil && berr == nil && bytes.Equal(a, b)
}
