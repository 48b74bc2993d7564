package cluster

// MaySleep says whether a service may have no instance at all while nobody connects: its instances are launched, and its
// scale begins at 0.
func (s *Service) MaySleep() bool {
	return s.Run != nil && s.Run.Driver != DriverExternal && s.Scale != nil && s.Scale.Min == 0
}

// Asleep says whether a service that may sleep has nobody to take connections, so that the next one shall bring somebody:
// it has no instance, or those that it has only come or go, because their launcher keeps them ready or takes them out. An
// instance that is out for another reason, such as dead or drained by an operator, is there and cannot serve: then the service
// refuses, as any other does.
//
// While its first instance starts a service is asleep too: launchers show an instance when it is ready.
func (r *Resolved) Asleep() bool {
	if !r.Service.MaySleep() {
		return false
	}
	for _, s := range r.Instances {
		standby := s.Status == Standby && s.Instance.Standby
		leaving := s.Status == Draining && s.Instance.Draining
		if !standby && !leaving {
			return false
		}
	}
	return true
}
