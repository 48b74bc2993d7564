package leader

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

// mode says what the leader does about the weights of a service.
type mode string

// The modes.
const (
	follows mode = "adaptive" // weights follow the load
	obeys   mode = "wishes"   // weights are the file's, times what each instance wishes
	none    mode = ""         // weights are the file's: what a leader wrote before is taken back
)

func modeOf(s *cluster.Service) mode {
	switch {
	case s.Balance == cluster.BalanceAdaptive:
		return follows
	case s.Balance != cluster.BalanceUniform && s.Load != nil && s.Load.Agent != 0:
		return obeys
	}
	return none
}

// ledService is a service that the leader decides about.
type ledService struct {
	in         *cluster.Inputs
	mode       mode
	candidates []loadmon.Candidate
	nodes      map[string]string // by instance: the node that runs it, and may speak of it
}

// ledServices are those that may need a decision, in the order of their names.
func ledServices(s *cluster.Snapshot) (out []ledService) {
	for _, in := range s.Services.All() {
		if m := modeOf(in.Service); m != none || in.Weights != nil {
			out = append(out, newLed(in, m))
		}
	}
	slices.SortFunc(out, func(a, b ledService) int { return strings.Compare(a.name(), b.name()) })
	return out
}

func newLed(in *cluster.Inputs, m mode) ledService {
	l := ledService{in: in, mode: m, nodes: map[string]string{}}
	if m == none {
		return l
	}
	asked := *in
	if in.Weights != nil { // shares would hide what the file says: whether an instance may have any
		asked.Weights = &cluster.Weights{Ejected: in.Weights.Ejected}
	}
	for _, state := range cluster.Resolve(&asked).Instances {
		id := state.Instance.ID
		if byHand := in.Admin[id].Weight != nil; byHand || !state.Takes() && state.Status != cluster.Ejected {
			continue
		}
		l.candidates = append(l.candidates, loadmon.Candidate{ID: id, Weight: state.Instance.Weight})
		if state.Node != "" {
			l.nodes[id] = state.Node
		}
	}
	return l
}

func (l ledService) name() string { return l.in.Service.Name }

// decides says whether there is anything to share.
func (l ledService) decides() bool { return l.mode != none && len(l.candidates) >= 2 }

// policy is what the service's file says of how its weights follow the load.
func (l ledService) policy() loadmon.Policy {
	p := loadmon.DefaultPolicy()
	p.Wishes = l.in.Service.Load != nil && l.in.Service.Load.Agent != 0
	p.Tells = l.in.Service.Load != nil && l.in.Service.Load.HTTP != ""
	if l.in.Service.Blend != nil {
		p.Blend = *l.in.Service.Blend
	}
	if limits := l.in.Service.Latency; limits != nil {
		p.Soft = cmp.Or(time.Duration(limits.Soft), p.Soft)
		p.Hard = cmp.Or(time.Duration(limits.Hard), p.Hard)
	}
	return p
}

// hosting are the nodes that run an instance whose figures a decision needs, or could run one, in the order of their names.
func hosting(led []ledService, s *cluster.Snapshot, launching []string) []string {
	names := map[string]bool{}
	for _, node := range launching {
		names[node] = true
	}
	for _, l := range led {
		if !l.decides() {
			continue
		}
		for _, node := range l.nodes {
			names[node] = true
		}
	}
	for _, in := range s.Services.All() {
		if in.Service.Run == nil && in.Service.Scale == nil {
			continue
		}
		for _, host := range in.Hosts { // how many there should be depends on their load, too
			names[host.Node] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
