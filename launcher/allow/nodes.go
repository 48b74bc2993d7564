package allow

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// mostNodes bounds what one mistake can cost.
const mostNodes = 1000

// Offer is what control centers are told of the machines that may be acquired; nil: none may be.
func (l *List) Offer() (*cluster.NodeOffer, error) {
	n := l.Nodes
	if n == nil {
		return nil, nil
	}
	var errs []error
	if n.Most < 1 || n.Most > mostNodes {
		errs = append(errs, fmt.Errorf("most: %d is outside 1..%d", n.Most, mostNodes))
	}
	if n.CPU < 0 || n.CPU > 4096 || math.IsNaN(n.CPU) {
		errs = append(errs, fmt.Errorf("cpu: %g is no number of processors", n.CPU))
	}
	if !slices.Contains(l.Drivers, cluster.DriverHook) {
		errs = append(errs, errors.New("machines come from driver hook: add it to drivers"))
	}
	if why := cluster.ValidLabels(n.Labels); why != "" {
		errs = append(errs, fmt.Errorf("labels: %s", why))
	}
	out := &cluster.NodeOffer{Most: n.Most, Capacity: cluster.Resources{CPU: n.CPU}, Labels: n.Labels, Idle: cluster.DefaultEmpty}
	if n.Memory != "" {
		if err := out.Capacity.Memory.UnmarshalText([]byte(n.Memory)); err != nil {
			errs = append(errs, fmt.Errorf("memory: %w", err))
		}
	}
	if n.Idle != "" {
		if err := out.Idle.UnmarshalText([]byte(n.Idle)); err != nil || out.Idle <= 0 {
			errs = append(errs, fmt.Errorf("idle: %q is no time: write as in 15m", n.Idle))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}
