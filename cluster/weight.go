package cluster

// WeightBy says whose word an instance's weight is.
type WeightBy string

// Who sets weights, the strongest first.
const (
	ByOperator WeightBy = "operator" // weir controlcenter weight
	ByLeader   WeightBy = "leader"   // from the load; an instance that it did not mention yet gets the mean of its shares
	ByUniform  WeightBy = "uniform"  // the balancing mode: all alike
	ByFile     WeightBy = "file"     // the service file, or the registration
)

// WeightBy says whose word the weight of an instance is, where it takes connections.
func (in *Inputs) WeightBy(inst Instance) WeightBy {
	_, by := in.weigh(inst, 0)
	return by
}

func (in *Inputs) weight(inst Instance, mean int) int {
	weight, _ := in.weigh(inst, mean)
	return weight
}

// weigh is the operator's, else the leader's, else the file's. An instance that the leader did not mention yet gets the
// mean of its shares. A weight of 0 in the file is an operator's no, which no leader overrules.
func (in *Inputs) weigh(inst Instance, mean int) (int, WeightBy) {
	shared := in.Weights != nil && len(in.Weights.Share) > 0
	if admin := in.Admin[inst.ID]; admin.Weight != nil {
		if shared && *admin.Weight > 0 {
			return in.beside(*admin.Weight, mean), ByOperator
		}
		return max(0, *admin.Weight), ByOperator
	}
	if shared && inst.Weight == 0 && in.Service.Balance != BalanceUniform {
		return 0, ByFile
	}
	if shared {
		if share, ok := in.Weights.Share[inst.ID]; ok {
			return max(0, share), ByLeader
		}
		return mean, ByLeader
	}
	if in.Service.Balance == BalanceUniform {
		return 1, ByUniform
	}
	return max(0, inst.Weight), ByFile
}

// beside is a weight by hand in the units of the leader's shares: it means among them what it would mean among the weights
// of the file. Instances that take no traffic do not count: what the leader notes of them is for their return.
func (in *Inputs) beside(weight, mean int) int {
	shares, weights := 0, 0
	for _, inst := range in.all() {
		_, said := in.Admin[inst.ID]
		health, sick := in.Health[inst.ID]
		share := in.Weights.Share[inst.ID]
		counts := inst.Weight
		if in.Service.Balance == BalanceUniform {
			counts = 1
		}
		if said || sick && health.Verdict != Suspect || share == 0 || counts == 0 || in.Hosts[inst.ID].Down != nil {
			continue
		}
		shares += share
		weights += counts
	}
	if weights == 0 {
		shares, weights = mean, 1
	}
	return max(1, weight*shares/weights)
}

// OutputOf is what the check said by which an instance is as it is; "" where something else is the reason.
func (in *Inputs) OutputOf(s State) string {
	switch h := in.Health[s.Instance.ID]; {
	case s.Status == IsDead && h.Verdict == Dead && in.Hosts[s.Instance.ID].Down == nil,
		s.Status == IsLeaving && h.Verdict == Leaving,
		(s.Status == IsFailing || s.Status == Panic) && h.Verdict == Failing,
		s.Status == IsSuspect && h.Verdict == Suspect:
		return h.Output
	}
	return ""
}
