package cluster

import "fmt"

// unchecked complains where nobody can run the check: a program, or an instance's own word, needs an agent beside the
// instance.
func (r *Resolved) unchecked() {
	c := r.Service.Check
	if c == nil || c.Exec == nil && c.TTL == nil {
		return
	}
	n, first := 0, ""
	for _, s := range r.Instances {
		if s.Node != "" || s.Status == Refused || s.Status == Duplicate {
			continue
		}
		if n++; n == 1 {
			first = s.Instance.ID
		}
	}
	if n == 0 {
		return
	}
	what := fmt.Sprintf("nobody checks instance %s: no agent of ours runs beside it", first)
	if n > 1 {
		what = fmt.Sprintf("nobody checks %d of its instances, of which %s is the first: no agent of ours runs beside them", n, first)
	}
	r.Problems = append(r.Problems, Problem{"service " + r.Service.Name, "check." + c.Kind(), what, "use tcp, http or grpc, which other nodes can ask, or run an agent there"})
}
