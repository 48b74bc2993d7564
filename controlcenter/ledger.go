package controlcenter

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/weir-lb/weir/cluster"
)

// ledger knows who holds which address. Plans that are made together enter into it one after the other, so that two
// services of one file cannot both get the same VIP.
type ledger struct {
	config    *cluster.Config
	inputs    cluster.Map[string, *cluster.Inputs]
	services  map[string]*cluster.Service
	frontends map[cluster.Frontend][]string // services that claim it, the oldest first
	vips      map[netip.Addr][]string       // services that claim it
	hosts     map[netip.Addr][]holder
	offline   bool // the cluster is not known: no VIP can be chosen
}

// holder is somebody real at an address.
type holder struct{ service, what string }

func newLedger(s *cluster.Snapshot) *ledger {
	l := &ledger{
		config: s.Config, inputs: s.Services, services: map[string]*cluster.Service{},
		frontends: map[cluster.Frontend][]string{}, vips: map[netip.Addr][]string{}, hosts: map[netip.Addr][]holder{},
	}
	for name, n := range s.Nodes.All() {
		for _, a := range n.Addresses {
			l.hosts[a] = append(l.hosts[a], holder{what: "node " + name})
		}
	}
	all := []*cluster.Service{}
	for _, in := range s.Services.All() {
		all = append(all, in.Service)
	}
	slices.SortFunc(all, func(a, b *cluster.Service) int {
		return cmp.Or(cmp.Compare(a.CreateRevision, b.CreateRevision), cmp.Compare(a.Name, b.Name))
	})
	for _, service := range all {
		l.enter(service)
	}
	return l
}

// offlineLedger finds the mistakes that show without the cluster.
func offlineLedger() *ledger {
	l := newLedger(&cluster.Snapshot{})
	l.offline = true
	return l
}

func (l *ledger) enter(s *cluster.Service) {
	l.services[s.Name] = s
	for _, f := range s.Frontends() {
		l.frontends[f] = append(l.frontends[f], s.Name)
	}
	for _, vip := range s.VIPs {
		l.vips[vip] = append(l.vips[vip], s.Name)
	}
	for _, i := range s.Instances {
		l.hosts[i.Addr] = append(l.hosts[i.Addr], holder{s.Name, fmt.Sprintf("instance %s of service %s", i.ID, s.Name)})
	}
	for _, i := range l.registered(s.Name) {
		l.hosts[i.Addr] = append(l.hosts[i.Addr], holder{"", fmt.Sprintf("instance %s of service %s on node %s", i.ID, s.Name, i.Node)})
	}
}

// leave takes out what a service holds by its file; what nodes registered for it stays.
func (l *ledger) leave(s *cluster.Service) {
	delete(l.services, s.Name)
	mine := func(name string) bool { return name == s.Name }
	for _, f := range s.Frontends() {
		l.frontends[f] = slices.DeleteFunc(l.frontends[f], mine)
	}
	for _, vip := range s.VIPs {
		l.vips[vip] = slices.DeleteFunc(l.vips[vip], mine)
	}
	for _, i := range s.Instances {
		l.hosts[i.Addr] = slices.DeleteFunc(l.hosts[i.Addr], func(h holder) bool { return h.service == s.Name })
	}
}

func (l *ledger) registered(service string) []cluster.Instance {
	if in, ok := l.inputs.Get(service); ok {
		return in.Registered
	}
	return nil
}

// check finds the mistakes of a service that only show beside the others.
func (l *ledger) check(s *cluster.Service) (faults []Fault) {
	add := func(cause error, field, what, fix string) {
		faults = append(faults, Fault{Cause: cause, Problem: cluster.Problem{Object: "service " + s.Name, Field: field, What: what, Fix: fix}})
	}
	for i, vip := range s.VIPs {
		field := fmt.Sprintf("vips[%d]", i)
		for _, port := range s.Ports {
			f := cluster.Frontend{VIP: vip, Proto: port.Protocol, Port: port.Port}
			if owners := l.frontends[f]; len(owners) > 0 {
				add(&cluster.TakenError{Frontend: f, Owner: owners[0]}, field, fmt.Sprintf("%s is taken by service %s", f, owners[0]),
					fmt.Sprintf("choose another VIP or port, or withdraw %s", owners[0]))
			}
		}
		if holders := l.hosts[vip]; len(holders) > 0 {
			add(nil, field, fmt.Sprintf("%s is the address of %s: its own traffic would be captured", vip, holders[0].what), "choose an address that routes to no host")
		}
	}
	for i, inst := range s.Instances {
		if owners := l.vips[inst.Addr]; len(owners) > 0 {
			add(nil, fmt.Sprintf("instances[%d].address", i), fmt.Sprintf("%s is a VIP of service %s: traffic would circle", inst.Addr, owners[0]),
				"use the addresses of the instances behind it")
		}
	}
	return faults
}
