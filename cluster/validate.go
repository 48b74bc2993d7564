package cluster

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
)

const (
	maxName     = 63
	maxNetworks = 1000
)

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	idPattern   = regexp.MustCompile(`^[A-Za-z0-9\[]([-A-Za-z0-9.:_\[\]]*[A-Za-z0-9\]])?$`)
)

// ValidName says what is wrong with the name of a service or node, or "".
func ValidName(name string) string {
	if len(name) > maxName || !namePattern.MatchString(name) {
		return fmt.Sprintf("name %q: want 1 to %d of a-z 0-9 - . that begin and end with a letter or digit", clip(name), maxName)
	}
	return ""
}

// ValidID says what is wrong with an instance id, or "". Ids are parts of etcd keys: no slash, no control characters.
func ValidID(id string) string {
	if len(id) > maxName || !idPattern.MatchString(id) {
		return fmt.Sprintf("id %q: want 1 to %d of A-Z a-z 0-9 - . : _ [ ] that begin with a letter or digit", clip(id), maxName)
	}
	return ""
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

// complaint gathers the problems of one object.
type complaint struct {
	object   string
	problems []Problem
}

func (c *complaint) add(field, what, fix string) {
	c.problems = append(c.problems, Problem{Object: c.object, Field: field, What: what, Fix: fix})
}

// Validate reports every mistake that can be seen in the service alone and in the configuration (nil: none), not only
// the first. Protocols that are left out are read as tcp.
func (s *Service) Validate(config *Config) []Problem {
	c := &complaint{object: "service " + clip(s.Name)}
	if why := ValidName(s.Name); why != "" {
		c.add("name", why, "rename it")
	}
	s.validateModes(c)
	s.validatePorts(c)
	s.validateVIPs(c, config)
	s.validateSources(c)
	s.validateCheck(c)
	s.validateLoad(c)
	s.validateRun(c)
	s.validateInstances(c, config)
	return c.problems
}

func (s *Service) validateModes(c *complaint) {
	if !slices.Contains([]Balance{"", BalanceUniform, BalanceStatic, BalanceAdaptive}, s.Balance) {
		c.add("balance", fmt.Sprintf("%q is unknown", s.Balance), "use uniform, static or adaptive")
	}
	if !slices.Contains([]Affinity{"", AffinityNone, AffinitySource}, s.Affinity) {
		c.add("affinity", fmt.Sprintf("%q is unknown", s.Affinity), "use none or source")
	}
	if !slices.Contains([]Locality{"", LocalityNone, LocalityNode, LocalityZone}, s.Locality) {
		c.add("locality", fmt.Sprintf("%q is unknown", s.Locality), "use none, prefer-node or prefer-zone")
	}
}

func (s *Service) validatePorts(c *complaint) {
	if len(s.Ports) == 0 {
		c.add("ports", "a service without a port cannot be reached", "give at least one")
	}
	numbers, names := map[Port]bool{}, map[string]bool{}
	for i, p := range s.Ports {
		field := fmt.Sprintf("ports[%d]", i)
		if p.Port == 0 {
			c.add(field+".port", "port 0 cannot be connected to", "use 1..65535")
		}
		if !slices.Contains([]Proto{TCP, UDP, SCTP}, p.Protocol) {
			c.add(field+".protocol", fmt.Sprintf("protocol %d is unknown", p.Protocol), "use tcp, udp or sctp")
		}
		if p.Name != "" && ValidName(p.Name) != "" {
			c.add(field+".name", ValidName(p.Name), "rename it")
		}
		number := Port{Port: p.Port, Protocol: p.Protocol}
		if numbers[number] {
			c.add(field, fmt.Sprintf("port %d/%s is given twice", p.Port, p.Protocol), "remove one")
		}
		if len(s.Ports) > 1 && names[p.Name] {
			c.add(field+".name", fmt.Sprintf("name %q is given twice, and instances tell ports apart by name", p.Name), "give each port a name of its own")
		}
		numbers[number], names[p.Name] = true, true
	}
}

func (s *Service) validateVIPs(c *complaint, config *Config) {
	seen := map[netip.Addr]bool{}
	for i, vip := range s.VIPs {
		field := fmt.Sprintf("vips[%d]", i)
		if why := config.RefuseVIP(vip); why != "" {
			c.add(field, why, config.vipFix(vip))
		}
		if seen[vip] {
			c.add(field, fmt.Sprintf("%s is given twice", vip), "remove one")
		}
		seen[vip] = true
	}
	if n := max(1, len(s.VIPs)) * len(s.Ports); n > MaxFrontends {
		c.add("", fmt.Sprintf("%d frontends (VIPs x ports) are more than %d", n, MaxFrontends), "split the service")
	}
}

func (s *Service) validateInstances(c *complaint, config *Config) {
	if len(s.Instances) > MaxInstances {
		c.add("instances", fmt.Sprintf("%d instances are more than %d", len(s.Instances), MaxInstances), "split the service")
		return
	}
	if s.Run != nil {
		for i, inst := range s.Run.Instances {
			s.validateInstance(c, fmt.Sprintf("run.instances[%d]", i), inst, config)
		}
	}
	ids, addresses, weight := map[string]bool{}, map[string]bool{}, 0
	for i, inst := range s.Instances {
		field := fmt.Sprintf("instances[%d]", i)
		s.validateInstance(c, field, inst, config)
		if ids[inst.ID] || addresses[inst.Address()] && inst.Port != 0 {
			c.add(field, fmt.Sprintf("instance %s is given twice", inst.ID), "remove one; to send it more, raise its weight")
		}
		ids[inst.ID], addresses[inst.Address()] = true, true
		weight += inst.Weight
	}
	if len(s.Instances) > 0 && weight == 0 {
		c.problems = append(c.problems, allWeightless(c.object))
	}
}

func (s *Service) validateInstance(c *complaint, field string, inst Instance, config *Config) {
	if why := ValidID(inst.ID); why != "" {
		c.add(field+".id", why, "rename it")
	}
	if why := config.RefuseInstance(inst.Addr, inst.Node); why != "" {
		c.add(field+".address", why, config.instanceFix(inst.Addr))
	} else if slices.Contains(s.VIPs, inst.Addr) {
		c.add(field+".address", fmt.Sprintf("%s is a VIP of this service: traffic would circle", inst.Addr), "use the instance's own address")
	} else if len(s.VIPs) > 0 && !slices.ContainsFunc(s.VIPs, func(vip netip.Addr) bool {
		return !vip.IsValid() || vip.Unmap().Is4() == inst.Addr.Is4() // a bad VIP has its own problem
	}) {
		c.add(field+".address", fmt.Sprintf("no VIP of the service has the address family of %s", inst.Addr), "add a VIP of that family")
	}
	if inst.Weight < 0 || inst.Weight > MaxWeight {
		c.add(field+".weight", fmt.Sprintf("weight %d is outside 0..%d", inst.Weight, MaxWeight), "weights are relative: scale them down")
	}
	for _, p := range s.Ports {
		if _, ok := inst.Target(p); !ok {
			c.add(field+".ports", fmt.Sprintf("port %q has no number here", p.Name), "write address: IP:PORT, or ports: {NAME: PORT} with each port of the service")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(inst.Ports)) {
		if !slices.ContainsFunc(s.Ports, func(p Port) bool { return p.Name == name }) {
			c.add(field+".ports", fmt.Sprintf("the service has no port %q", clip(name)), "use the names of the service's ports")
		}
	}
}

// Validate reports every mistake in the configuration.
func (c *Config) Validate(nodes map[string]*Node) []Problem {
	out := &complaint{object: "config"}
	for field, n := range map[string]int{"vip_pools": len(c.VIPPools), "instance_networks": len(c.InstanceNetworks)} {
		if n > maxNetworks { // each is compared with each
			out.add(field, fmt.Sprintf("%d networks are more than %d", n, maxNetworks), "merge them")
			return out.problems
		}
	}
	names := slices.Sorted(maps.Keys(nodes))
	for i, pool := range c.VIPPools {
		field := fmt.Sprintf("vip_pools[%d]", i)
		if pool != pool.Masked() || unroutable(pool.Addr()) != "" {
			out.add(field, fmt.Sprintf("%s is not a usable network", pool), "write the network address, as in 10.10.0.0/16")
		}
		if j := slices.IndexFunc(c.VIPPools[:i], pool.Overlaps); j >= 0 { // the first of perhaps many
			out.add(field, fmt.Sprintf("%s overlaps vip_pools[%d] %s", pool, j, c.VIPPools[j]), "merge them")
		}
		if j := slices.IndexFunc(c.InstanceNetworks, pool.Overlaps); j >= 0 {
			out.add(field, fmt.Sprintf("%s overlaps the instance network %s: traffic for real hosts would be refused", pool, c.InstanceNetworks[j]), "choose a network that holds no host")
		}
		for _, name := range names {
			for _, addr := range nodes[name].Addresses {
				if pool.Contains(addr) {
					out.add(field, fmt.Sprintf("%s holds %s of node %s: traffic for it would be refused", pool, addr, name), "choose a network that holds no host")
				}
			}
		}
	}
	return out.problems
}
