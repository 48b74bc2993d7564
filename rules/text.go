package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// String lists sets and frontends, sorted:
//
//	vips 10.10.1.128/32
//	10.10.1.128:8080 random 3 (service a): 192.168.10.100:80 x1, 192.168.10.101:80 x2
func (r *Ruleset) String() string {
	var b strings.Builder
	for _, set := range Sets {
		for _, p := range r.Sets[set] {
			fmt.Fprintf(&b, "%s %s\n", set, p)
		}
	}
	var frontends []cluster.Frontend
	for f := range r.Balancers.All() {
		frontends = append(frontends, f)
	}
	slices.SortFunc(frontends, cluster.Frontend.Compare)
	for _, f := range frontends {
		balancer, _ := r.Balancers.Get(f)
		fmt.Fprintf(&b, "%s %s\n", f, balancer)
	}
	return b.String()
}

// String is one line: mode, size, service, and each target with its slots.
func (b *Balancer) String() string {
	shares := make([]string, len(b.Shares))
	for i, s := range b.Shares {
		shares[i] = fmt.Sprintf("%s x%d", s.Target, s.Slots)
	}
	return strings.TrimSuffix(fmt.Sprintf("%s %d (service %s): %s", b.Mode, b.Slots(), b.Service, strings.Join(shares, ", ")), ": ")
}
