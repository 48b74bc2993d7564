package controlcenter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-lb/weir/cluster"
)

// NotFoundError says that there is no such thing, and what there is instead.
type NotFoundError struct {
	What   string   // "service web"
	Exists []string // names that would have been found, sorted
}

func (e *NotFoundError) Error() string {
	const most = 10
	switch n := len(e.Exists); {
	case n == 0:
		return e.What + " does not exist, and there is none: publish one first"
	case n > most:
		return fmt.Sprintf("%s does not exist: there are %s and %d more", e.What, strings.Join(e.Exists[:most], ", "), n-most)
	}
	return fmt.Sprintf("%s does not exist: there are %s", e.What, strings.Join(e.Exists, ", "))
}

func find(s *cluster.Snapshot, service string) (*cluster.Inputs, error) {
	in, ok := s.Services.Get(service)
	if !ok {
		all := maps.Collect(s.Services.All())
		return nil, &NotFoundError{fmt.Sprintf("service %q", service), slices.Sorted(maps.Keys(all))}
	}
	return in, nil
}

// findInstance finds by id, else by IP:PORT, else by an IP that only one of them has.
func findInstance(in *cluster.Inputs, want string) (cluster.State, error) {
	var ids, addresses, hosts []cluster.State
	exists := []string{}
	for _, s := range cluster.Resolve(in).Instances {
		exists = append(exists, s.Instance.ID)
		switch want {
		case s.Instance.ID:
			ids = append(ids, s)
		case s.Instance.Address():
			addresses = append(addresses, s)
		case s.Instance.Addr.String():
			hosts = append(hosts, s)
		}
	}
	for _, found := range [][]cluster.State{ids, addresses, hosts} {
		if len(found) == 0 {
			continue
		}
		if id := found[0].Instance.ID; slices.ContainsFunc(found, func(s cluster.State) bool { return s.Instance.ID != id }) {
			return cluster.State{}, fmt.Errorf("%q fits %d instances of service %s: name one by its id or IP:PORT: %s", want, len(found), in.Service.Name, strings.Join(exists, ", "))
		}
		return found[0], nil
	}
	if _, left := in.Admin[want]; left { // what was said of an instance that has gone can still be taken back
		return cluster.State{Instance: cluster.Instance{ID: want}}, nil
	}
	return cluster.State{}, &NotFoundError{fmt.Sprintf("instance %q of service %s", want, in.Service.Name), exists}
}
