package cluster

import (
	"slices"
	"time"
)

// Called is what the leader decided about instances that were published to stand by: net/called/<service>. It stays in force
// while nobody leads, and when the service is published again.
type Called struct {
	Instances map[string]Call `json:"instances,omitempty"` // by instance id; one that is not named stands by
}

// Call is the leader's last word about one of them.
type Call struct {
	Serving bool      `json:"serving,omitempty"` // it takes connections; false: it was let go again
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// Of is what was said of an instance; of one that was never called, nothing.
func (c *Called) Of(id string) Call {
	if c == nil {
		return Call{}
	}
	return c.Instances[id]
}

// Launched says whether Weir starts instances of the service.
func (s *Service) Launched() bool { return s.Run != nil && s.Run.Driver != DriverExternal }

// StandsBy says whether instances that somebody else runs stand by, so that how many of them serve is the leader's to
// choose.
func (in *Inputs) StandsBy() bool {
	return !in.Service.Launched() && (standsBy(in.Service.Instances) || standsBy(in.Registered))
}

func standsBy(instances []Instance) bool {
	return slices.ContainsFunc(instances, func(i Instance) bool { return i.Standby })
}

// Reserves are how many instances there are in all, and how many of them always serve.
func (in *Inputs) Reserves() (all, always int) {
	for _, i := range in.all() {
		if all++; !i.Standby {
			always++
		}
	}
	return all, always
}
