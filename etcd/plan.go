package etcd

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// describe is the change in the words of errors and of net/barrier.
func describe(change cluster.Change) string {
	switch c := change.(type) {
	case cluster.Publish:
		return "publish " + printable(c.Service.Name)
	case cluster.Withdraw:
		return "withdraw " + printable(c.Service.Name)
	case cluster.SetAdmin:
		return fmt.Sprintf("set admin of instance %s of %s", printable(c.ID), printable(c.Service))
	case cluster.SetNodeAdmin:
		return "set admin of node " + printable(c.Node)
	case cluster.SetConfig:
		return "set config"
	case cluster.SetDown:
		return "set down of node " + printable(c.Node)
	case cluster.ForgetNode:
		return "forget node " + printable(c.Node)
	case cluster.SetPaused:
		if c.Paused {
			return "pause automatic decisions"
		}
		return "resume automatic decisions"
	case cluster.SetScaled:
		return "scale service " + printable(c.Service)
	case cluster.AcceptHeld:
		return fmt.Sprintf("accept held deletions up to revision %d", c.Revision)
	}
	return fmt.Sprintf("commit %T", change)
}

// plan reads what the change depends on and lays out its transaction.
func (s *Store) plan(ctx context.Context, change cluster.Change) (*transaction, error) {
	var t *transaction
	err := s.do(ctx, "plan", func(ctx context.Context, c *clientv3.Client) (err error) {
		p := planner{store: s, client: c}
		t, err = p.plan(ctx, change)
		return err
	})
	if err != nil {
		return nil, err
	}
	barrier, err := encode(Barrier{Change: describe(change), At: time.Now().UTC().Truncate(time.Millisecond)})
	if err != nil {
		return nil, err
	}
	// In every change, so that one that deletes also leaves a trace under net/ to acknowledge.
	t.then = append(t.then, clientv3.OpPut(s.prefix+barrierKey, string(barrier)))
	return t, nil
}

type planner struct {
	store  *Store
	client *clientv3.Client
}

func (p planner) plan(ctx context.Context, change cluster.Change) (*transaction, error) {
	switch c := change.(type) {
	case cluster.Publish:
		return p.publish(ctx, c)
	case cluster.Withdraw:
		return p.withdraw(ctx, c)
	case cluster.SetAdmin:
		return p.ofService(ctx, c.Service, Key{Kind: KindAdmin, Service: c.Service, ID: c.ID}, present(c.Admin))
	case cluster.SetNodeAdmin:
		return p.set(ctx, Key{Kind: KindNodeAdmin, Node: c.Node}, present(c.Admin))
	case cluster.SetConfig:
		return p.config(ctx, c)
	case cluster.SetDown:
		return p.down(ctx, c)
	case cluster.ForgetNode:
		return p.forget(ctx, c)
	case cluster.SetPaused:
		return p.paused(ctx, c.Paused)
	case cluster.AcceptHeld:
		return p.set(ctx, Key{Kind: KindGuard}, Guard{Accept: c.Revision})
	case cluster.SetScaled:
		return p.ofService(ctx, c.Service, Key{Kind: KindScale, Service: c.Service}, present(c.Scaled))
	}
	return nil, fmt.Errorf("commit %T: this kind of change is unknown", change)
}

// present makes a nil pointer a nil value, which deletes.
func present[T any](v *T) any {
	if v == nil {
		return nil
	}
	return v
}

func (p planner) withdraw(ctx context.Context, c cluster.Withdraw) (*transaction, error) {
	key := Key{Kind: KindService, Service: c.Service.Name}
	if err := key.Valid(); err != nil {
		return nil, err
	}
	if c.Service.ModRevision == 0 && c.Service.Launched() {
		return p.disown(ctx, c.Service)
	}
	found, err := p.store.read(ctx, p.client, []string{key.String()})
	switch {
	case err != nil:
		return nil, err
	case found[0] == nil:
		return nil, fmt.Errorf("%w: service %s is not published", cluster.ErrConflict, c.Service.Name)
	case modded(found[0]) != c.Service.ModRevision:
		return nil, fmt.Errorf("%w: service %s is at revision %d, planned was %d: look at it and plan again", cluster.ErrConflict, c.Service.Name, modded(found[0]), c.Service.ModRevision)
	}
	name := p.store.key(key)
	t := &transaction{subject: key.String(), planned: c.Service.ModRevision}
	t.ifs = []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", c.Service.ModRevision)}
	t.then = []clientv3.Op{
		clientv3.OpDelete(name),
		clientv3.OpDelete(p.store.prefix+"net/admin/"+c.Service.Name+"/", clientv3.WithPrefix()),
		clientv3.OpDelete(p.store.key(Key{Kind: KindWeights, Service: c.Service.Name})),
		clientv3.OpDelete(p.store.key(Key{Kind: KindCalled, Service: c.Service.Name})),
		clientv3.OpDelete(p.store.key(Key{Kind: KindMoved, Service: c.Service.Name})),
		clientv3.OpDelete(p.store.key(Key{Kind: KindWake, Service: c.Service.Name})),
	}
	scale, err := p.withdrawn(c.Service)
	if err != nil {
		return nil, err
	}
	t.then = append(append(t.then, scale), p.release(c.Service.Name, previous(c.Service, key, found[0]))...)
	return t, nil
}

// withdrawn leaves word for the leader that the instances of a service are to go, where Weir started them.
func (p planner) withdrawn(s *cluster.Service) (clientv3.Op, error) {
	key := Key{Kind: KindScale, Service: s.Name}
	if !s.Launched() {
		return clientv3.OpDelete(p.store.key(key)), nil
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	return p.store.placed(key, cluster.Scaled{By: "operator", Reason: "the service was withdrawn", Since: now, Withdrawn: true})
}

// disown withdraws what is left of a service that is not published.
func (p planner) disown(ctx context.Context, s *cluster.Service) (*transaction, error) {
	service, scale := Key{Kind: KindService, Service: s.Name}, Key{Kind: KindScale, Service: s.Name}
	found, err := p.store.read(ctx, p.client, []string{service.String(), scale.String()})
	if err != nil {
		return nil, err
	}
	if found[0] != nil && !unreadable(service, found[0]) {
		return nil, fmt.Errorf("%w: service %s is published again: look at it and plan again", cluster.ErrConflict, s.Name)
	}
	op, err := p.withdrawn(s)
	if err != nil {
		return nil, err
	}
	name := p.store.key(service)
	return &transaction{
		subject: scale.String(), planned: modded(found[1]), value: op.ValueBytes(),
		ifs: []clientv3.Cmp{
			clientv3.Compare(clientv3.ModRevision(name), "=", modded(found[0])),
			clientv3.Compare(clientv3.ModRevision(p.store.key(scale)), "=", modded(found[1])),
		},
		then: []clientv3.Op{op, clientv3.OpDelete(name)},
	}, nil
}

// ofService sets what speaks about a service. Of one that is not there it refuses to: the key would wait for the next one
// of that name.
func (p planner) ofService(ctx context.Context, name string, key Key, v any) (*transaction, error) {
	t, err := p.set(ctx, key, v)
	if err != nil || v == nil {
		return t, err
	}
	service := Key{Kind: KindService, Service: name}
	found, err := p.store.read(ctx, p.client, []string{service.String()})
	if err != nil {
		return nil, err
	}
	if found[0] == nil {
		return nil, fmt.Errorf("%w: service %s is not published", cluster.ErrConflict, name)
	}
	t.ifs = append(t.ifs, clientv3.Compare(clientv3.CreateRevision(p.store.key(service)), ">", 0))
	return t, nil
}

// set writes one key, or deletes it for nil, as it was read just now: that makes sending it twice harmless.
func (p planner) set(ctx context.Context, key Key, v any) (*transaction, error) {
	if err := key.Valid(); err != nil {
		return nil, err
	}
	found, err := p.store.read(ctx, p.client, []string{key.String()})
	if err != nil {
		return nil, err
	}
	return p.replace(key, found[0], v)
}

func (p planner) replace(key Key, found *mvccpb.KeyValue, v any) (t *transaction, err error) {
	t = &transaction{subject: key.String(), planned: modded(found)}
	name := p.store.key(key)
	t.ifs = []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", t.planned)}
	if v == nil {
		t.then = []clientv3.Op{clientv3.OpDelete(name)}
		return t, nil
	}
	if t.value, err = readable(key, v); err != nil {
		return nil, err
	}
	t.then = []clientv3.Op{clientv3.OpPut(name, string(t.value))}
	return t, nil
}

// config replaces the configuration. One that cannot be read says nothing of a pause that could be kept.
func (p planner) config(ctx context.Context, c cluster.SetConfig) (*transaction, error) {
	key := Key{Kind: KindConfig}
	if !c.KeepPause || c.Config == nil {
		return p.set(ctx, key, present(c.Config))
	}
	found, err := p.store.read(ctx, p.client, []string{key.String()})
	if err != nil {
		return nil, err
	}
	next := *c.Config
	next.Paused = false
	if found[0] != nil {
		if last, err := decode[cluster.Config](found[0].Value); err == nil {
			next.Paused = last.Paused
		}
	}
	return p.replace(key, found[0], &next)
}

// paused changes one word of the configuration, as it was read just now.
func (p planner) paused(ctx context.Context, paused bool) (*transaction, error) {
	key := Key{Kind: KindConfig}
	found, err := p.store.read(ctx, p.client, []string{key.String()})
	if err != nil {
		return nil, err
	}
	config := &cluster.Config{}
	if found[0] != nil {
		if config, err = decode[cluster.Config](found[0].Value); err != nil {
			return nil, cluster.Problem{Object: "key " + key.String(), What: err.Error(), Fix: "write it again: weir controlcenter config -f FILE"}
		}
	}
	config.Paused = paused
	return p.replace(key, found[0], config)
}

// readable encodes a value and refuses what agents could not read, or etcd not take.
func readable(key Key, v any) ([]byte, error) {
	value, err := encode(v)
	if err != nil {
		return nil, err
	}
	if len(value) > cluster.MaxFileBytes {
		return nil, cluster.Problem{
			Object: "key " + key.String(), What: fmt.Sprintf("%d bytes are more than %d", len(value), cluster.MaxFileBytes),
			Fix: "split it, or shorten its labels",
		}
	}
	if key.Kind > KindGuard {
		return value, nil // no agent reads it
	}
	if _, err := decodeValue(key, value); err != nil {
		return nil, cluster.Problem{Object: "key " + key.String(), What: printable(err.Error()), Fix: "no agent could read it: correct it"}
	}
	return value, nil
}
