package etcd

import (
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weir-lb/weir/cluster"
)

// assign claims ports and assigns in one step, or does nothing: a port is claimed once, whoever asks, and however often.
func (s *Store) assign(d cluster.Assign) (clientv3.Op, error) {
	var free []clientv3.Cmp
	var then []clientv3.Op
	for _, port := range d.Claims {
		key := Key{Kind: KindPort, Node: d.Node, Port: port}
		op, err := s.placed(key, cluster.PortClaim{Service: d.Assignment.Service, ID: d.ID, Since: d.Assignment.Since})
		if err != nil {
			return op, err
		}
		free = append(free, clientv3.Compare(clientv3.CreateRevision(s.key(key)), "=", 0))
		then = append(then, op)
	}
	op, err := s.placed(Key{Kind: KindAssign, Node: d.Node, ID: d.ID}, d.Assignment)
	if err != nil {
		return op, err
	}
	return clientv3.OpTxn(free, append(then, op), nil), nil
}

// unassign takes an assignment back. Its ports stay claimed, by nobody in particular, until FreePort.
func (s *Store) unassign(d cluster.Unassign) (clientv3.Op, error) {
	op, err := s.placed(Key{Kind: KindAssign, Node: d.Node, ID: d.ID}, nil)
	if err != nil {
		return op, err
	}
	then := []clientv3.Op{op}
	for _, port := range d.Ports {
		op, err := s.placed(Key{Kind: KindPort, Node: d.Node, Port: port}, cluster.PortClaim{Service: d.Service, Since: d.Since, Revision: d.Revision, Busy: port == d.Busy})
		if err != nil {
			return op, err
		}
		then = append(then, op)
	}
	if d.Forgotten {
		then = append(then, s.unlessLaunching(d.Node, clientv3.OpDelete(s.key(Key{Kind: KindStatus, Node: d.Node, ID: d.ID}))))
	}
	return clientv3.OpTxn(nil, then, nil), nil
}

// scaled writes a number unless somebody else did meanwhile.
func (s *Store) scaled(d cluster.SetScaled) (clientv3.Op, error) {
	key := Key{Kind: KindScale, Service: d.Service}
	op, err := s.placed(key, present(d.Scaled))
	if err != nil || d.Scaled == nil {
		return op, err
	}
	return clientv3.OpTxn([]clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(s.key(key)), "=", d.Scaled.ModRevision),
		clientv3.Compare(clientv3.CreateRevision(s.key(Key{Kind: KindService, Service: d.Service})), ">", 0),
	}, []clientv3.Op{op}, nil), nil
}

// bury forgets a withdrawal, unless the key says something else by now.
func (s *Store) bury(service string, revision int64) clientv3.Op {
	key := s.key(Key{Kind: KindScale, Service: service})
	same := clientv3.Compare(clientv3.ModRevision(key), "=", revision)
	return clientv3.OpTxn([]clientv3.Cmp{same}, []clientv3.Op{clientv3.OpDelete(key)}, nil)
}

// launching lays out what the leader decides about instances that are launched.
func (s *Store) launching(d cluster.Decision) (clientv3.Op, error) {
	switch d := d.(type) {
	case cluster.Assign:
		return s.assign(d)
	case cluster.Unassign:
		return s.unassign(d)
	case cluster.Buried:
		key := Key{Kind: KindScale, Service: d.Service}
		return s.bury(d.Service, d.ModRevision), key.Valid()
	case cluster.FreePort:
		return s.placed(Key{Kind: KindPort, Node: d.Node, Port: d.Port}, nil)
	case cluster.SetScaled:
		return s.scaled(d)
	case cluster.Acknowledge:
		return s.placed(Key{Kind: KindBarrier}, Barrier{Change: d.Reason, At: time.Now().UTC().Truncate(time.Millisecond)})
	case cluster.ForgetNode:
		return s.forgotten(d.Node)
	case cluster.SetMoved:
		return s.speaks(Key{Kind: KindMoved, Service: d.Service}, present(d.Moved))
	case cluster.SetCrashes: // also of a service that is gone, as long as its instances are there
		return s.placed(Key{Kind: KindCrashes, Service: d.Service}, present(d.Crashes))
	case cluster.ClearWake:
		return s.placed(Key{Kind: KindWake, Service: d.Service}, nil)
	}
	return clientv3.Op{}, fmt.Errorf("%T: this kind of decision is unknown", d)
}
