package cluster

import (
	"fmt"
	"strings"
)

// MaxShare is the largest weight that the leader gives.
const MaxShare = 1_000_000

// Unusable is what keeps a service from being one at all, or nil. Addresses, and weights that are all 0, are left to
// Resolve: it complains of them and keeps the rest of the service.
func (s *Service) Unusable() *Problem {
	for _, p := range s.Validate(nil) {
		perInstance := strings.HasPrefix(p.Field, "instances") && !strings.HasSuffix(p.Field, ".weight")
		if !perInstance && !strings.HasPrefix(p.Field, "vips") {
			return &p
		}
	}
	return nil
}

// Usable says what is wrong with what the leader decided, or nil.
func (w *Weights) Usable() error {
	for id, share := range w.Share {
		if err := inRange(share, MaxShare); err != nil {
			return fmt.Errorf("share of %q: %w", clip(id), err)
		}
	}
	return nil
}

// Usable says what is wrong with an operator's word, or nil.
func (a *Admin) Usable() error {
	if a.Weight == nil {
		return nil
	}
	return inRange(*a.Weight, MaxWeight)
}

// Usable says what is wrong with a registered instance, but for its address, or nil.
func (i *Instance) Usable() error { return inRange(i.Weight, MaxWeight) }

// Usable says what is wrong with a verdict, or nil.
func (h Health) Usable() error {
	switch h.Verdict {
	case Dead, Failing, Leaving, Suspect:
		return nil
	}
	return fmt.Errorf("verdict %q: want dead, failing, leaving or suspect", clip(string(h.Verdict)))
}

func inRange(weight, most int) error {
	if weight < 0 || weight > most {
		return fmt.Errorf("weight %d is outside 0..%d", weight, most)
	}
	return nil
}

// unusable is what in the inputs etcd could not have said, or nil.
func (in *Inputs) unusable() *Problem {
	if p := in.Service.Unusable(); p != nil {
		return p
	}
	var err error
	note := func(field string, wrong error) {
		if err == nil && wrong != nil {
			err = fmt.Errorf("%s: %w", field, wrong)
		}
	}
	for _, i := range in.Registered {
		note("registered", i.Usable())
	}
	for _, a := range in.Admin {
		note("admin", a.Usable())
	}
	for _, h := range in.Health {
		note("health", h.Usable())
	}
	if in.Weights != nil {
		note("weights", in.Weights.Usable())
	}
	if err == nil {
		return nil
	}
	return &Problem{Object: "service " + clip(in.Service.Name), What: err.Error(), Fix: "remove the snapshot file"}
}
