package etcd

import (
	"cmp"
	"fmt"

	"github.com/weir-lb/weir/cluster"
)

// recall takes what the process before served for what this one has seen, so that the first list is judged like any
// other: a store that was wiped or restored while the agent restarted must not take the services with it. Of what the
// list has, only the number of frontends matters; what it lacks is put back, for the guard to hold or to let go.
func (v *view) recall(l listing) {
	past := v.past
	v.past = nil
	if past == nil || v.listed {
		return
	}
	listed := make(map[string]bool, len(l.entries))
	for _, e := range l.entries {
		listed[e.key] = true
	}
	var missing []string
	for key, value := range remembered(past) {
		text := key.String()
		if s, ok := value.(*cluster.Service); ok {
			v.frontends[text] = len(s.VIPs) * len(s.Ports)
		}
		if !listed[text] {
			v.known[text] = version{}
			feed(v.draft, key, value)
			missing = append(missing, text)
		}
	}
	v.revision, v.listed = past.Revision, true
	if past.Held != nil { // what was held is held on, and not for longer
		v.hold.add(missing, past.Held.Revision, past.Held.Reason)
		if v.hold.active() {
			v.hold.held.Since = past.Held.Since
		}
	}
}

// remembered are the keys and values that a snapshot was made of, as far as they can be told from it: what nodes say of
// instances that run elsewhere cannot.
func remembered(s *cluster.Snapshot) map[Key]any {
	values := map[Key]any{}
	if s.Ready { // a file from before the first publish must not vouch for an empty store
		values[Key{Kind: KindReady}] = true
	}
	if s.Config != nil {
		values[Key{Kind: KindConfig}] = s.Config
	}
	for name, node := range s.Nodes.All() {
		values[Key{Kind: KindNode, Node: name}] = node
	}
	for name, in := range s.Services.All() {
		values[Key{Kind: KindService, Service: name}] = in.Service
		if in.Weights != nil {
			values[Key{Kind: KindWeights, Service: name}] = in.Weights
		}
		for id, admin := range in.Admin {
			values[Key{Kind: KindAdmin, Service: name, ID: id}] = &admin
		}
		for _, i := range in.Registered {
			node := cmp.Or(i.Node, in.Hosts[i.ID].Node) // the file says it only once
			values[Key{Kind: KindInstance, Node: node, Service: name, ID: i.ID}] = &i
		}
		for _, host := range in.Hosts {
			if host.Down != nil {
				values[Key{Kind: KindDown, Node: host.Node}] = host.Down
			}
			if host.Admin != nil {
				values[Key{Kind: KindNodeAdmin, Node: host.Node}] = host.Admin
			}
		}
	}
	return values
}

// rollbackKey is where the Problem of a falling revision is kept; no key of etcd is called so.
const rollbackKey = "rollback"

// compareRevision raises the alarm when the store is older than it was. Missing keys are held back; that others have an
// older value cannot be told from an operator's change, so people have to look.
func (v *view) compareRevision(revision int64) {
	if !v.listed || revision >= v.revision {
		return
	}
	v.fell = revision
	v.draft.Problem(rollbackKey, &cluster.Problem{
		Object: "etcd", What: fmt.Sprintf("its revision fell from %d to %d: it was wiped or restored to an older state, and what was published in between is lost", v.revision, revision),
		Fix: fmt.Sprintf("publish again what is missing or old; then weir guard accept --revision %d", revision),
	})
}
