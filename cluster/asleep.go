package cluster

// Sleeps says whether a service may be left without any instance while nobody connects: connections wake it then.
func (s *Service) Sleeps() bool { return s.Scale != nil && s.Scale.Min <= 0 }

// Asleep says whether a service has nobody to take connections, and the next one shall bring somebody. Its scale begins at 0,
// and it has no instance, or those that it has only come or go: they stand by until they are called, or their launcher takes
// them out. An instance that is out for another reason, such as dead or drained by an operator, is there and cannot serve:
// then the service refuses, as any other does.
//
// While the first instance of a launched service starts it is asleep too: launchers show an instance when it is ready.
func (r *Resolved) Asleep() bool {
	s := r.Service
	if !s.Sleeps() || !s.Launched() && len(r.Instances) == 0 {
		return false
	}
	for _, i := range r.Instances {
		standby := i.Status == Standby && i.Instance.Standby
		leaving := i.Status == Draining && i.Instance.Draining
		if !standby && !leaving {
			return false
		}
	}
	return true
}
