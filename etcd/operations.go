package etcd

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// WatchOperations tells fn of what lies in ops/, but for events and repairs: once at the beginning, and at each change. What
// fn gets is never changed afterwards. It runs until the context ends, and returns nil then; it returns an error where it
// may not look. Values that cannot be read are left out, with a Problem.
func (s *Store) WatchOperations(ctx context.Context, fn func(*cluster.Operations)) error {
	return (&operations{store: s, fn: fn}).mirror().run(ctx)
}

// operations is the copy, and what was last told of it.
type operations struct {
	store    *Store
	fn       func(*cluster.Operations)
	now      cluster.Operations
	told     cluster.Operations
	changed  map[Kind]bool
	problems map[Key]cluster.Problem
}

func (o *operations) mirror() *mirror {
	from := o.store.prefix + "ops/"
	return &mirror{
		store: o.store, doing: "watch ops/", from: from, to: clientv3.GetPrefixRangeEnd(from),
		clear:  o.clear,
		put:    o.put,
		remove: func(k Key) { delete(o.problems, k); o.set(k, nil) },
		tell:   o.tell,
	}
}

func (o *operations) clear() {
	o.now = cluster.Operations{
		Alive: map[string]bool{}, Applied: map[string]cluster.Applied{}, Launchers: map[string]cluster.Launcher{},
		Assigned: map[string]map[string]cluster.Assignment{}, Launched: map[string]map[string]cluster.Launched{},
		Ports: map[string]map[uint16]cluster.PortClaim{}, Scaled: map[string]cluster.Scaled{}, Wakes: map[string]cluster.Wake{}, Moved: map[string]cluster.Moved{},
		Crashes: map[string]cluster.Crashes{},
	}
	o.problems = map[Key]cluster.Problem{}
	o.changed = map[Kind]bool{}
	for k := range kinds {
		o.changed[k] = true
	}
}

// tell copies what changed since it was last told.
func (o *operations) tell(revision int64) bool {
	t := &o.told
	t.Revision, t.Problems = revision, nil
	t.Alive, t.Applied = copied(o, KindAlive, o.now.Alive, t.Alive), copied(o, KindApplied, o.now.Applied, t.Applied)
	t.Launchers, t.Scaled = copied(o, KindLauncher, o.now.Launchers, t.Launchers), copied(o, KindScale, o.now.Scaled, t.Scaled)
	t.Wakes, t.Ports = copied(o, KindWake, o.now.Wakes, t.Wakes), copiedWithin(o, KindPort, o.now.Ports, t.Ports)
	t.Moved, t.Crashes = copied(o, KindMoved, o.now.Moved, t.Moved), copied(o, KindCrashes, o.now.Crashes, t.Crashes)
	t.Assigned, t.Launched = copiedWithin(o, KindAssign, o.now.Assigned, t.Assigned), copiedWithin(o, KindStatus, o.now.Launched, t.Launched)
	for _, k := range slices.SortedFunc(maps.Keys(o.problems), func(a, b Key) int { return cmp.Compare(a.String(), b.String()) }) {
		t.Problems = append(t.Problems, o.problems[k])
	}
	clear(o.changed)
	now := *t
	o.fn(&now)
	return false
}

func copied[K comparable, V any](o *operations, kind Kind, now, told map[K]V) map[K]V {
	if !o.changed[kind] {
		return told
	}
	return maps.Clone(now)
}

func copiedWithin[K comparable, V any](o *operations, kind Kind, now, told map[string]map[K]V) map[string]map[K]V {
	if !o.changed[kind] {
		return told
	}
	out := make(map[string]map[K]V, len(now))
	for node, inner := range now {
		out[node] = maps.Clone(inner)
	}
	return out
}

func (o *operations) put(k Key, kv *mvccpb.KeyValue) {
	value, err := decodeOperation(k, kv)
	if err != nil {
		o.problems[k] = *malformed(k.String(), err)
		value = nil
	} else {
		delete(o.problems, k)
	}
	o.set(k, value)
}

// decodeOperation reads what a node or a leader, perhaps a newer one, wrote; nil is what no leader reads.
func decodeOperation(k Key, kv *mvccpb.KeyValue) (any, error) {
	switch k.Kind {
	case KindAlive:
		return true, nil
	case KindApplied:
		return pointed(decodeReport[cluster.Applied](kv.Value))
	case KindLauncher:
		return pointed(decodeReport[cluster.Launcher](kv.Value))
	case KindAssign:
		return pointed(decodeReport[cluster.Assignment](kv.Value))
	case KindStatus:
		return pointed(decodeReport[cluster.Launched](kv.Value))
	case KindPort:
		return pointed(decodeReport[cluster.PortClaim](kv.Value))
	case KindWake:
		return pointed(decodeReport[cluster.Wake](kv.Value))
	case KindMoved:
		return pointed(decodeReport[cluster.Moved](kv.Value))
	case KindCrashes:
		return pointed(decodeReport[cluster.Crashes](kv.Value))
	case KindScale:
		scaled, err := decodeReport[cluster.Scaled](kv.Value)
		if err == nil {
			scaled.ModRevision = kv.ModRevision
		}
		return pointed(scaled, err)
	}
	return nil, nil
}

// pointed is the value itself.
func pointed[T any](v *T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return *v, nil
}

// set replaces one value; nil removes it.
func (o *operations) set(k Key, v any) {
	o.changed[k.Kind] = true
	switch k.Kind {
	case KindAlive:
		file(o.now.Alive, k.Node, v)
	case KindApplied:
		file(o.now.Applied, k.Node, v)
	case KindLauncher:
		file(o.now.Launchers, k.Node, v)
	case KindAssign:
		fileWithin(o.now.Assigned, k.Node, k.ID, v)
	case KindStatus:
		fileWithin(o.now.Launched, k.Node, k.ID, v)
	case KindPort:
		fileWithin(o.now.Ports, k.Node, k.Port, v)
	case KindScale:
		file(o.now.Scaled, k.Service, v)
	case KindMoved:
		file(o.now.Moved, k.Service, v)
	case KindCrashes:
		file(o.now.Crashes, k.Service, v)
	case KindWake:
		file(o.now.Wakes, k.Service, v)
	}
}

func file[K comparable, V any](m map[K]V, k K, v any) {
	if v == nil {
		delete(m, k)
	} else {
		m[k] = v.(V)
	}
}

// fileWithin leaves no node without a value.
func fileWithin[K comparable, V any](m map[string]map[K]V, node string, k K, v any) {
	if m[node] == nil {
		m[node] = map[K]V{}
	}
	if file(m[node], k, v); len(m[node]) == 0 {
		delete(m, node)
	}
}
