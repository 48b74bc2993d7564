package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
)

// Balance says where the weights of a service come from.
type Balance string

// The balancing modes. Left out means BalanceStatic.
const (
	BalanceUniform  Balance = "uniform"  // every instance alike; weights of the file are ignored
	BalanceStatic   Balance = "static"   // the weights of the file
	BalanceAdaptive Balance = "adaptive" // the weights that the leader writes; until then those of the file
)

// Affinity says whether a client meets the same instance again.
type Affinity string

// The kinds of affinity. Left out means AffinityNone.
const (
	AffinityNone   Affinity = "none"   // every new connection is decided anew
	AffinitySource Affinity = "source" // by the client's address, alike on every node
)

// Locality says which instances a node prefers.
type Locality string

// The kinds of locality. Left out means LocalityNone. Where none of the preferred instances is well, all are used.
const (
	LocalityNone Locality = "none"        // all instances alike
	LocalityNode Locality = "prefer-node" // those on the node itself
	LocalityZone Locality = "prefer-zone" // those in the node's zone, which the label "zone" names
)

// ZoneLabel of a node names its zone; of an instance too, where it differs from its node's.
const ZoneLabel = "zone"

// Limits of one service. They bound what one mistake can cost; ARCHITECTURE and README state them.
const (
	MaxInstances = 1000
	MaxFrontends = 100
	MaxSources   = 256
	MaxWeight    = 1000
	MaxFileBytes = 1 << 20 // one etcd value; etcd itself takes 1.5 MiB a request
)

// Service is what an operator publishes, and what one etcd value holds.
type Service struct {
	Name      string         `json:"name"`
	VIPs      []netip.Addr   `json:"vips,omitempty"` // IPv4 and IPv6; none: one is taken from the pools at publish
	Ports     []Port         `json:"ports"`
	Balance   Balance        `json:"balance,omitempty"`
	Affinity  Affinity       `json:"affinity,omitempty"`
	Locality  Locality       `json:"locality,omitempty"`
	Sources   []netip.Prefix `json:"sources,omitzero"` // who may connect; nil: everybody; empty, which is refused: nobody
	Check     *Check         `json:"check,omitempty"`  // nil: only what the kernel shows counts, such as a listener that is gone
	Load      *LoadSource    `json:"load,omitempty"`   // nil: load is measured from outside
	Blend     *int           `json:"blend,omitempty"`  // 0..100: how much of an adaptive weight follows the load; nil: 100
	Latency   *Latency       `json:"latency,omitempty"`
	Run       *Run           `json:"run,omitempty"`      // how instances are started; nil: not by Weir
	Replicas  *int           `json:"replicas,omitempty"` // how many are started; nil: 1, or what was said by weir scale
	Scale     *Scale         `json:"scale,omitempty"`    // nil: their number does not follow the load
	Warm      int            `json:"warm,omitempty"`     // how many more are kept started and ready, without traffic
	Restart   *Restart       `json:"restart,omitempty"`
	Instances []Instance     `json:"instances,omitempty"` // published by hand; launched and registered ones add to these

	// Revisions of the etcd key; zero before the service is written. The oldest CreateRevision wins a contested
	// frontend, on every node alike.
	CreateRevision int64 `json:"-"`
	ModRevision    int64 `json:"-"`
}

// Port is one port of all VIPs of a service.
type Port struct {
	Name     string `json:"name,omitempty"`
	Port     uint16 `json:"port"`
	Protocol Proto  `json:"protocol,omitempty"`
}

// Frontends are all (VIP, protocol, port) of the service, in the order of its file.
func (s *Service) Frontends() []Frontend {
	out := make([]Frontend, 0, len(s.VIPs)*len(s.Ports))
	for _, vip := range s.VIPs {
		for _, port := range s.Ports {
			out = append(out, Frontend{VIP: vip, Proto: port.Protocol, Port: port.Port})
		}
	}
	return out
}

// Instance is one running copy of a service at an address.
//
// In JSON it is {"address": "IP:PORT"} or, for a service with several ports, {"address": "IP", "ports": {NAME: PORT}}.
// ID may be left out: then it is the address.
type Instance struct {
	ID       string
	Addr     netip.Addr
	Port     uint16            // of every port that Ports does not name; 0: none
	Ports    map[string]uint16 // by the name of the service's port
	Weight   int               // 0..1000; left out: 1
	Labels   map[string]string
	Standby  bool   // kept ready, and not routed until the leader calls it
	Draining bool   // it takes no new connections; only of one that a node registered
	Node     string // the node that registered it; "" when published by hand
}

// Address is IP:PORT, or the IP alone where Ports holds the ports.
func (i Instance) Address() string {
	if i.Port == 0 {
		return i.Addr.String()
	}
	return netip.AddrPortFrom(i.Addr, i.Port).String()
}

// Target is the address behind one port of the service; false when the instance does not offer it.
func (i Instance) Target(port Port) (netip.AddrPort, bool) {
	number, named := i.Ports[port.Name]
	if !named {
		number = i.Port
	}
	return netip.AddrPortFrom(i.Addr, number), number != 0
}

// Compare orders instances by ID, then node.
func (i Instance) Compare(j Instance) int {
	return cmp.Or(cmp.Compare(i.ID, j.ID), cmp.Compare(i.Node, j.Node))
}

type instanceJSON struct {
	ID       string            `json:"id,omitempty"`
	Address  string            `json:"address"`
	Ports    map[string]uint16 `json:"ports,omitempty"`
	Weight   *int              `json:"weight,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Standby  bool              `json:"standby,omitempty"`
	Draining bool              `json:"draining,omitempty"`
}

// MarshalJSON leaves out what has its default.
func (i Instance) MarshalJSON() ([]byte, error) {
	out := instanceJSON{Address: i.Address(), Ports: i.Ports, Labels: i.Labels, Standby: i.Standby, Draining: i.Draining}
	if i.ID != out.Address {
		out.ID = i.ID
	}
	if i.Weight != 1 {
		out.Weight = &i.Weight
	}
	return json.Marshal(out)
}

// UnmarshalJSON fills in the defaults and refuses fields that it does not know: a value written by a newer version must
// not be half understood.
func (i *Instance) UnmarshalJSON(text []byte) error {
	in := instanceJSON{}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return err
	}
	parsed, err := ParseInstance(in.Address)
	if err != nil {
		return err
	}
	parsed.Ports, parsed.Labels = in.Ports, in.Labels
	parsed.Standby, parsed.Draining = in.Standby, in.Draining
	if in.ID != "" {
		parsed.ID = in.ID
	}
	if in.Weight != nil {
		parsed.Weight = *in.Weight
	}
	*i = parsed
	return nil
}

// ParseInstance reads IP:PORT or IP, with weight 1 and the address as ID.
func ParseInstance(address string) (Instance, error) {
	i := Instance{Weight: 1}
	if ap, err := netip.ParseAddrPort(address); err == nil {
		if ap.Port() == 0 {
			return i, fmt.Errorf("instance address %q: port 0 cannot be connected to: use 1..65535", address)
		}
		i.Addr, i.Port = ap.Addr(), ap.Port()
	} else if addr, bare := netip.ParseAddr(address); bare == nil {
		i.Addr = addr
	} else {
		return i, fmt.Errorf("instance address %q: want IP:PORT, or IP together with ports: %w", address, err)
	}
	i.ID = i.Address()
	return i, nil
}
