package cluster

import (
	"fmt"
	"net/netip"
	"slices"
)

// Guarded says whether only some clients may connect.
func (s *Service) Guarded() bool { return s.Sources != nil }

// SourcesOf are the networks of a VIP's family that may connect; only a guarded service has any.
func (s *Service) SourcesOf(vip netip.Addr) (out []netip.Prefix) {
	for _, p := range s.Sources {
		if p.Addr().Is4() == vip.Is4() {
			out = append(out, p)
		}
	}
	return out
}

func (s *Service) validateSources(c *complaint) {
	switch {
	case s.Guarded() && len(s.Sources) == 0:
		c.add("sources", "the list is empty, so nobody could connect", "name the networks that may connect; leave sources out to admit everybody")
	case len(s.Sources) > MaxSources:
		c.add("sources", fmt.Sprintf("%d sources are more than %d", len(s.Sources), MaxSources), "name larger networks")
		return
	}
	for i, p := range s.Sources {
		if what, fix := s.refuseSource(i, p); what != "" {
			c.add(fmt.Sprintf("sources[%d]", i), what, fix)
		}
	}
}

// refuseSource says what is wrong with one source, and what to do about it.
func (s *Service) refuseSource(i int, p netip.Prefix) (what, fix string) {
	switch {
	case !p.IsValid():
		return "no network is given", "write it as in 10.30.0.0/24"
	case p.Addr().Is4In6():
		return fmt.Sprintf("%s is an IPv4-mapped IPv6 network, which no packet comes from", p), "write the IPv4 network"
	case p != p.Masked():
		return fmt.Sprintf("%s is no network address: it has bits behind its length", p), fmt.Sprintf("write %s, or %s/%d for the host alone", p.Masked(), p.Addr(), p.Addr().BitLen())
	case len(s.VIPs) > 0 && !slices.ContainsFunc(s.VIPs, func(vip netip.Addr) bool { return !vip.IsValid() || vip.Unmap().Is4() == p.Addr().Is4() }):
		return fmt.Sprintf("no VIP of the service has the address family of %s", p), "remove it, or add a VIP of that family"
	}
	for j, other := range s.Sources {
		if j != i && other.IsValid() && other.Bits() <= p.Bits() && other.Contains(p.Addr()) && (other != p || j < i) {
			return fmt.Sprintf("%s lies in sources[%d] %s, which admits it already", p, j, other), "remove one of the two"
		}
	}
	return "", ""
}

// shutOut are the families of VIPs that no source covers: nobody can connect there.
func (in *Inputs) shutOut() (out []Problem) {
	s := in.Service
	for i, vip := range s.VIPs {
		if s.Guarded() && len(s.SourcesOf(vip)) == 0 {
			out = append(out, Problem{"service " + s.Name, fmt.Sprintf("vips[%d]", i),
				fmt.Sprintf("no source has the address family of %s, so nobody may connect there", vip), "add sources of that family, or remove the VIP"})
		}
	}
	return out
}
