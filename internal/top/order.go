package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-lb/weir/controlcenter"
)

// Order says which services come first.
type Order string

// The orders. All end with the name, so that equal ones do not dance.
const (
	ByRate   Order = "rate"   // most new connections
	ByBusy   Order = "busy"   // busiest
	ByDrift  Order = "drift"  // farthest from what was wanted
	ByStatus Order = "status" // those that serve nobody, then those that miss something
	ByName   Order = "name"
)

// Orders are all orders, in the order in which a key goes through them.
var Orders = []Order{ByRate, ByBusy, ByDrift, ByStatus, ByName}

// Next is the one that follows.
func (o Order) Next() Order { return Orders[(slices.Index(Orders, o)+1)%len(Orders)] }

// ParseOrder reads an order.
func ParseOrder(text string) (Order, error) {
	if o := Order(text); slices.Contains(Orders, o) {
		return o, nil
	}
	var all []string
	for _, o := range Orders {
		all = append(all, string(o))
	}
	return "", fmt.Errorf("there is no order %q: use one of %s", text, strings.Join(all, ", "))
}

var badness = map[string]int{"down": 0, "degraded": 1, "empty": 2, controlcenter.Asleep: 3, "ok": 4}

func byName(a, b Service) int { return strings.Compare(a.Name, b.Name) }

// Sort puts the services in order, and the nodes that are not alive, then the busiest, first.
func (f *Frame) Sort(o Order) {
	first := map[Order]func(a, b Service) int{
		ByRate:   func(a, b Service) int { return more(a.NewPerS, b.NewPerS) },
		ByBusy:   func(a, b Service) int { return more(a.Busy, b.Busy) },
		ByDrift:  func(a, b Service) int { return more(a.Drift, b.Drift) },
		ByStatus: func(a, b Service) int { return cmp.Compare(badness[a.Status], badness[b.Status]) },
		ByName:   byName,
	}[o]
	slices.SortFunc(f.Services, func(a, b Service) int { return cmp.Or(first(a, b), byName(a, b)) })
	slices.SortFunc(f.Nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(alive(a), alive(b)), more(a.CPU, b.CPU), strings.Compare(a.Name, b.Name))
	})
}

func alive(n Node) int {
	if n.State == "alive" {
		return 1
	}
	return 0
}

// more has the larger one first, and what is not known last.
func more(a, b *float64) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*b, *a)
}
