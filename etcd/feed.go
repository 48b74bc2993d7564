package etcd

import "github.com/weir-lb/weir/cluster"

// feed hands one value to the draft; v is what decodeValue returned, nil when the key is gone.
func feed(d *cluster.Draft, k Key, v any) {
	switch k.Kind {
	case KindService:
		d.Service(k.Service, as[cluster.Service](v))
	case KindInstance:
		d.Instance(k.Node, k.Service, k.ID, as[cluster.Instance](v))
	case KindAdmin:
		d.Admin(k.Service, k.ID, as[cluster.Admin](v))
	case KindNodeAdmin:
		d.NodeAdmin(k.Node, as[cluster.NodeAdmin](v))
	case KindWeights:
		d.Weights(k.Service, as[cluster.Weights](v))
	case KindCalled:
		d.Called(k.Service, as[cluster.Called](v))
	case KindHealth:
		if h := as[cluster.NodeHealth](v); h != nil {
			d.Health(k.Node, *h)
		} else {
			d.Health(k.Node, nil)
		}
	case KindDown:
		d.Down(k.Node, as[cluster.Down](v))
	case KindNode:
		d.Node(k.Node, as[cluster.Node](v))
	case KindConfig:
		d.Config(as[cluster.Config](v))
	case KindReady:
		d.Ready(v != nil)
	}
}

func as[T any](v any) *T {
	t, _ := v.(*T)
	return t
}
