package cluster

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// Draft collects typed values from the store and seals them into Snapshots. One goroutine owns it. Every setter takes
// nil (or false) for "the key is gone". A setter costs what it changes; Snapshot costs the services that were touched.
type Draft struct {
	services   map[string]*Service
	registered map[string]map[registration]Instance // by service
	admin      map[string]map[string]Admin          // by service, instance id
	weights    map[string]*Weights
	called     map[string]*Called
	health     map[string]map[string]map[string]Health // by service, reporting node, instance id
	nodeAdmin  map[string]*NodeAdmin
	down       map[string]*Down
	config     *Config
	ready      bool
	barrier    int64
	configured int64 // of config
	held       *Held
	problems   complaints

	index     index
	observers *Observers
	unsettled bool // observers may have changed
	dirty     map[string]bool
	last      *Snapshot
}

type registration struct{ node, id string }

// NewDraft starts from nothing.
func NewDraft() *Draft {
	return &Draft{
		services:   map[string]*Service{},
		registered: map[string]map[registration]Instance{},
		admin:      map[string]map[string]Admin{},
		weights:    map[string]*Weights{},
		called:     map[string]*Called{},
		health:     map[string]map[string]map[string]Health{},
		nodeAdmin:  map[string]*NodeAdmin{},
		down:       map[string]*Down{},
		problems:   complaints{byKey: map[string]Problem{}},
		index:      newIndex(),
		dirty:      map[string]bool{},
		last:       &Snapshot{},
	}
}

// Service sets net/services/<name>.
func (d *Draft) Service(name string, s *Service) {
	old := d.services[name]
	if old != nil && s != nil && old.ModRevision == s.ModRevision && old.ModRevision != 0 {
		return
	}
	for _, touched := range d.index.replace(name, old, s) {
		d.dirty[touched] = true
	}
	put(d.services, name, s)
	d.dirty[name] = true
	d.clashes(old, s)
}

// Instance sets net/instances/<node>/<service>/<id>.
func (d *Draft) Instance(node, service, id string, i *Instance) {
	key := registration{node, id}
	if old, ok := d.registered[service][key]; ok {
		d.index.instances.remove(old.Addr)
		delete(d.registered[service], key)
	}
	if i != nil {
		inst := *i
		inst.ID, inst.Node = id, node
		nested(d.registered, service)[key] = inst
		d.index.instances.add(inst.Addr)
	}
	d.dirty[service] = true
}

// Admin sets net/admin/<service>/<id>.
func (d *Draft) Admin(service, id string, a *Admin) {
	delete(d.admin[service], id)
	if a != nil {
		nested(d.admin, service)[id] = *a
	}
	d.dirty[service] = true
}

// NodeAdmin sets net/admin-node/<node>.
func (d *Draft) NodeAdmin(node string, a *NodeAdmin) {
	d.nodeAdmin = maps.Clone(d.nodeAdmin) // snapshots have the one before
	put(d.nodeAdmin, node, a)
	d.dirtyHostedBy(node)
}

// Weights sets net/weights/<service>.
func (d *Draft) Weights(service string, w *Weights) {
	put(d.weights, service, w)
	d.dirty[service] = true
}

// Called sets net/called/<service>.
func (d *Draft) Called(service string, c *Called) {
	put(d.called, service, c)
	d.dirty[service] = true
}

// Health sets net/health/<node>.
func (d *Draft) Health(node string, h NodeHealth) {
	for service, reports := range d.health {
		if reports[node] != nil && !maps.Equal(reports[node], h[service]) {
			delete(reports, node)
			d.dirty[service] = true
		}
	}
	for service, ids := range h {
		reports := nested(d.health, service)
		if !maps.Equal(reports[node], ids) {
			reports[node] = ids
			d.dirty[service] = true
		}
	}
}

// Down sets net/down/<node>.
func (d *Draft) Down(node string, down *Down) {
	d.down = maps.Clone(d.down) // snapshots have the one before
	put(d.down, node, down)
	d.unsettled = true
	d.dirtyHostedBy(node)
}

// Node sets net/nodes/<node>.
func (d *Draft) Node(name string, n *Node) {
	old := d.index.nodes[name]
	if reflect.DeepEqual(old, n) {
		return
	}
	d.index.setNode(name, n)
	if zoneOf(old) != zoneOf(n) {
		d.dirtyHostedBy(name)
	}
	d.unsettled = true
	if d.index.hostsAny(old) || d.index.hostsAny(n) {
		d.dirtyAll()
	}
}

// Config sets net/config.
func (d *Draft) Config(c *Config) {
	d.config = c
	d.dirtyAll()
}

// Ready sets net/ready.
func (d *Draft) Ready(ready bool) { d.ready = ready }

// Barrier sets net/barrier; 0: none.
func (d *Draft) Barrier(revision int64) { d.barrier = revision }

// Configured is the revision of net/config, whether it can be read or not; 0: there is none.
func (d *Draft) Configured(revision int64) { d.configured = revision }

// Held marks that deletions are held back; nil: none are.
func (d *Draft) Held(h *Held) { d.held = h }

// Problem notes that the value of a key cannot be used; nil: it can. What the key said before stays in force.
func (d *Draft) Problem(key string, p *Problem) { d.problems.set(key, p) }

// Snapshot seals what has been set so far. Services that nothing touched keep their Inputs pointer.
func (d *Draft) Snapshot(revision int64) *Snapshot {
	d.chooseObservers()
	services := d.last.Services.Edit()
	for name := range d.dirty {
		if d.services[name] == nil {
			services.Delete(name)
		} else if next := d.gather(name); !reflect.DeepEqual(next, before(d.last, name)) {
			services.Set(name, next)
		}
	}
	clear(d.dirty)
	nodes := d.last.Nodes.Edit()
	d.index.flushNodes(nodes)
	d.last = &Snapshot{
		Revision: revision, Ready: d.ready, Barrier: d.barrier, Config: d.config, Configured: d.configured, Held: d.held,
		Services: services.Map(), Nodes: nodes.Map(), Down: d.down, NodeAdmin: d.nodeAdmin, Observers: d.observers,
		Problems: d.problems.seal(),
	}
	return d.last
}

func before(s *Snapshot, name string) *Inputs {
	in, _ := s.Services.Get(name)
	return in
}

// gather copies everything that concerns one service out of the draft.
func (d *Draft) gather(name string) *Inputs {
	s := d.services[name]
	in := &Inputs{
		Service: s, Config: d.config, Weights: d.weights[name], Called: d.called[name], Admin: maps.Clone(d.admin[name]),
		Registered: slices.SortedFunc(maps.Values(d.registered[name]), Instance.Compare),
		Lost:       d.index.lost(name, s),
	}
	if len(in.Admin) == 0 {
		in.Admin = nil
	}
	for _, vip := range s.VIPs {
		if nodes := d.index.nodeOf[vip]; len(nodes) > 0 {
			set(&in.HostVIPs, vip, nodes[0])
		}
	}
	// Of several with one id, Resolve serves the first that it does not refuse; only the host of that one may speak.
	known := map[string]bool{}
	for _, inst := range in.all() {
		if d.index.vips.has(inst.Addr) {
			set(&in.VIPs, inst.Addr, true)
			continue
		}
		if known[inst.ID] || d.config.RefuseInstance(inst.Addr, inst.Node) != "" {
			continue
		}
		known[inst.ID] = true
		host := d.index.hostOf(inst)
		if h, ok := d.verdict(name, inst.ID, host); ok {
			set(&in.Health, inst.ID, h)
		}
		if host != "" {
			set(&in.Hosts, inst.ID, Host{Node: host, Zone: zoneOf(d.index.nodes[host]), Down: d.down[host], Admin: d.nodeAdmin[host]})
		}
	}
	return in
}

// chooseObservers finds the nodes that may check instances on hosts without an agent: those that tell of a load monitor, or
// all where none does (they are older than that), without those that are down. What others said before does not count any
// more.
func (d *Draft) chooseObservers() {
	if !d.unsettled {
		return
	}
	d.unsettled = false
	var names, monitors []string
	for name, n := range d.index.nodes {
		if d.down[name] != nil {
			continue
		}
		names = append(names, name)
		if n.Monitor != "" {
			monitors = append(monitors, name)
		}
	}
	if len(monitors) > 0 {
		names = monitors
	}
	if next := NewObservers(names); !slices.Equal(next.Names(), d.observers.Names()) {
		d.observers = next
		for service, reports := range d.health {
			if len(reports) > 0 {
				d.dirty[service] = true
			}
		}
	}
}

// verdict is what the instance's own node says of it or, where no agent runs beside it, the majority of its observers. The
// word of any other node does not count.
func (d *Draft) verdict(service, id, host string) (Health, bool) {
	reports := d.health[service]
	if host != "" {
		h, ok := reports[host][id]
		return h, ok
	}
	if len(reports) == 0 {
		return Health{}, false
	}
	said := map[Verdict][]Health{}
	chosen := d.observers.Of(service, id)
	for _, node := range slices.Sorted(slices.Values(chosen)) {
		if h, ok := reports[node][id]; ok {
			said[h.Verdict] = append(said[h.Verdict], h)
		}
	}
	return majority(said, len(chosen)/2+1)
}

// majority is what at least so many observers say. Where they agree only in that an instance is not well, it is failing: the
// verdict that takes out the least. Where some only suspect so, it is suspect.
func majority(said map[Verdict][]Health, need int) (Health, bool) {
	for _, v := range []Verdict{Dead, Leaving, Failing} {
		if len(said[v]) >= need {
			return said[v][0], true
		}
	}
	all := slices.Concat(said[Failing], said[Dead], said[Leaving])
	if len(all) >= need {
		h := all[0]
		h.Verdict = Failing
		return h, true
	}
	if all = slices.Concat(said[Suspect], all); len(all) < need {
		return Health{}, false
	}
	h := all[0]
	h.Verdict, h.Since, h.Began = Suspect, h.began(), time.Time{}
	return h, true
}

// clashes touches the services whose instances became, or ceased to be, the VIP of another service: a rare mistake, so
// finding them may cost a pass.
func (d *Draft) clashes(old, new *Service) {
	for _, s := range []*Service{old, new} {
		if s == nil {
			continue
		}
		if slices.ContainsFunc(s.VIPs, d.index.instances.has) {
			d.dirtyAll()
		}
	}
}

func (d *Draft) dirtyHostedBy(node string) {
	for name, in := range d.last.Services.All() {
		for _, host := range in.Hosts {
			if host.Node == node {
				d.dirty[name] = true
				break
			}
		}
	}
}

func (d *Draft) dirtyAll() {
	for name := range d.services {
		d.dirty[name] = true
	}
}

func zoneOf(n *Node) string {
	if n == nil {
		return ""
	}
	return n.Labels[ZoneLabel]
}

func put[V any](m map[string]*V, key string, v *V) {
	if v == nil {
		delete(m, key)
		return
	}
	m[key] = v
}

func set[K comparable, V any](m *map[K]V, key K, v V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = v
}

func nested[K, L comparable, V any](m map[K]map[L]V, key K) map[L]V {
	if m[key] == nil {
		m[key] = map[L]V{}
	}
	return m[key]
}

// counted is a set whose members are added and removed several times.
type counted map[netip.Addr]int

func (c counted) has(a netip.Addr) bool { return c[a] > 0 }

func (c counted) add(a netip.Addr) { c[a]++ }

func (c counted) remove(a netip.Addr) {
	if c[a]--; c[a] <= 0 {
		delete(c, a)
	}
}
