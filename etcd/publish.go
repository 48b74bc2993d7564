package etcd

import (
	"context"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// etcd allows 128 operations in a transaction, by default, and counts like this: the longest of its lists (compare, then,
// else), plus the same of the transaction nested in it, along the longest path. A service that changes all of
// its 100 frontends has 101 compares, so everything else goes into nested transactions of ten: 101 + 10 + 1.
const (
	maxOps    = 128
	chunkSize = 10
)

// chunked nests operations so that they count as one tenth.
func chunked(ops []clientv3.Op) (out []clientv3.Op) {
	for chunk := range slices.Chunk(ops, chunkSize) {
		out = append(out, clientv3.OpTxn(nil, chunk, nil))
	}
	return out
}

func (p planner) publish(ctx context.Context, c cluster.Publish) (*transaction, error) {
	service := withProtocols(c.Service)
	key := Key{Kind: KindService, Service: service.Name}
	value, err := readable(key, service)
	if err != nil {
		return nil, err
	}
	wanted, scale := service.Frontends(), Key{Kind: KindScale, Service: service.Name}
	keys := []string{key.String(), scale.String()}
	for _, f := range wanted {
		if err := FrontendKey(f).Valid(); err != nil {
			return nil, err
		}
		keys = append(keys, FrontendKey(f).String())
	}
	found, err := p.store.read(ctx, p.client, keys)
	if err != nil {
		return nil, err
	}
	have := modded(found[0])
	if have != service.ModRevision && !(service.ModRevision == 0 && unreadable(key, found[0])) {
		return nil, fmt.Errorf("%w: service %s is at revision %d, planned was %d: look at it and plan again", cluster.ErrConflict, service.Name, have, service.ModRevision)
	}
	name := p.store.key(key)
	t := &transaction{subject: key.String(), planned: have, value: value}
	t.ifs = []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", have)}
	t.then = []clientv3.Op{clientv3.OpPut(name, string(value)), p.ready()}
	t.then = append(t.then, p.revived(scale, found[1])...)
	r := reservation{planner: p, owner: service.Name, transaction: t}
	if err := r.reserve(ctx, wanted, found[2:]); err != nil {
		return nil, err
	}
	t.then = append(t.then, chunked(r.puts)...)
	dropped := slices.DeleteFunc(previous(c.Previous, key, found[0]), func(f cluster.Frontend) bool { return slices.Contains(wanted, f) })
	t.then = append(t.then, p.release(service.Name, dropped)...)
	return t, nil
}

// revived takes back that the service was withdrawn before.
func (p planner) revived(key Key, stored *mvccpb.KeyValue) []clientv3.Op {
	if stored == nil {
		return nil
	}
	if s, err := decodeReport[cluster.Scaled](stored.Value); err != nil || !s.Withdrawn {
		return nil
	}
	return []clientv3.Op{p.store.bury(key.Service, stored.ModRevision)}
}

// unreadable says whether what stands in the store cannot be read by anybody: to a planner it is not there, and
// publishing is how to replace it.
func unreadable(key Key, stored *mvccpb.KeyValue) bool {
	if stored == nil {
		return false
	}
	_, err := decodeValue(key, stored.Value)
	return err != nil
}

// withProtocols spells out the default protocol: a reservation needs one.
func withProtocols(s *cluster.Service) *cluster.Service {
	out := *s
	out.Ports = slices.Clone(s.Ports)
	for i := range out.Ports {
		if out.Ports[i].Protocol == 0 {
			out.Ports[i].Protocol = cluster.TCP
		}
	}
	return &out
}

// previous are the frontends that the service has had: of its stored value, which the transaction compares with, else
// of what the caller knows.
func previous(known *cluster.Service, key Key, stored *mvccpb.KeyValue) []cluster.Frontend {
	if stored != nil {
		if v, err := decodeValue(key, stored.Value); err == nil {
			return as[cluster.Service](v).Frontends()
		}
	}
	if known == nil {
		return nil
	}
	return withProtocols(known).Frontends()
}

// ready puts net/ready unless it is there.
func (p planner) ready() clientv3.Op {
	key := p.store.prefix + readyKey
	absent := clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
	return clientv3.OpTxn([]clientv3.Cmp{absent}, []clientv3.Op{clientv3.OpPut(key, "true")}, nil)
}

// release gives frontends back, those that are still the owner's.
func (p planner) release(owner string, frontends []cluster.Frontend) []clientv3.Op {
	var each []clientv3.Op
	for _, f := range frontends {
		key := p.store.key(FrontendKey(f))
		ours := clientv3.Compare(clientv3.Value(key), "=", owner)
		each = append(each, clientv3.OpTxn([]clientv3.Cmp{ours}, []clientv3.Op{clientv3.OpDelete(key)}, nil))
	}
	return chunked(each)
}

// reservation adds to a transaction that frontends become, or are, the owner's.
type reservation struct {
	planner
	owner string
	*transaction
	puts     []clientv3.Op
	vanished []string // former owners that are known to be gone
}

func (r *reservation) reserve(ctx context.Context, frontends []cluster.Frontend, found []*mvccpb.KeyValue) error {
	for i, f := range frontends {
		key := r.store.key(FrontendKey(f))
		switch {
		case found[i] == nil:
			r.ifs = append(r.ifs, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
			r.puts = append(r.puts, clientv3.OpPut(key, r.owner))
		case string(found[i].Value) == r.owner:
			r.ifs = append(r.ifs, clientv3.Compare(clientv3.Value(key), "=", r.owner))
		default:
			if err := r.inherit(ctx, f, string(found[i].Value)); err != nil {
				return err
			}
		}
	}
	if len(r.ifs) > maxOps-chunkSize-1 {
		return fmt.Errorf("%d comparisons are more than a transaction may have: split the service", len(r.ifs))
	}
	return nil
}

// inherit takes over the reservation of a service that is gone: somebody deleted its key by hand, which leaves the
// reservation behind for ever.
func (r *reservation) inherit(ctx context.Context, f cluster.Frontend, owner string) error {
	service := Key{Kind: KindService, Service: owner}
	if service.Valid() != nil {
		return &cluster.TakenError{Frontend: f, Owner: printable(owner)}
	}
	name := r.store.key(service)
	if !slices.Contains(r.vanished, owner) {
		found, err := r.store.read(ctx, r.client, []string{service.String()})
		if err != nil {
			return err
		}
		if found[0] != nil {
			return &cluster.TakenError{Frontend: f, Owner: owner}
		}
		r.vanished = append(r.vanished, owner)
		r.ifs = append(r.ifs, clientv3.Compare(clientv3.CreateRevision(name), "=", 0))
	}
	key := r.store.key(FrontendKey(f))
	r.ifs = append(r.ifs, clientv3.Compare(clientv3.Value(key), "=", owner))
	r.puts = append(r.puts, clientv3.OpPut(key, r.owner))
	return nil
}
