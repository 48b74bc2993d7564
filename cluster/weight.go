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
// mean of its shares.
func (in *Inputs) weigh(inst Instance, mean int) (int, WeightBy) {
	if admin := in.Admin[inst.ID]; admin.Weight != nil {
		return max(0, *admin.Weight), ByOperator
	}
	if in.Weights != nil && len(in.Weights.Share) > 0 {
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

// OutputOf is what the check said by which an instance is as it is; "" where something else is the reason.
func (in *Inputs) OutputOf(s State) string {
	switch h := in.Health[s.Instance.ID]; {
	case s.Status == IsDead && h.Verdict == Dead && in.Hosts[s.Instance.ID].Down == nil,
		s.Status == IsLeaving && h.Verdict == Leaving,
		(s.Status == IsFailing || s.Status == Panic) && h.Verdict == Failing:
		return h.Output
	}
	return ""
}
