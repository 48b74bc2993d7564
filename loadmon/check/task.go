package check

import (
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// task is what this node is to find out about one instance.
type task struct {
	id        ID
	own       bool             // it runs on this node
	check     *cluster.Check   // with its defaults; nil: only the kernel's signs count
	address   netip.AddrPort   // where the check connects to
	listeners []netip.AddrPort // its TCP ports
	where     string           // its address, as it is written
	wishes    bool             // an agent beside it says what part of its weight it wishes
	question  []byte           // what an http or grpc check sends, the same each time; nil: not made yet
}

// connects says whether its check shows by itself that nobody listens any more.
func (t task) connects() bool {
	return t.check != nil && (t.check.TCP != nil || t.check.HTTP != nil || t.check.GRPC != nil)
}

// runs says whether its check is made by this node, and not waited for.
func (t task) runs() bool { return t.connects() || t.check != nil && t.check.Exec != nil }

// timeout is that of its check.
func (t task) timeout() time.Duration { return time.Duration(t.check.Timeout) }

// same says whether what was found out under another task still holds.
func (t task) same(u task) bool {
	return t.address == u.address && (t.check == nil) == (u.check == nil)
}

// assign picks the instances of one service that a node looks after. Those that Resolve refuses are nobody's: they are never
// connected to.
func assign(in *cluster.Inputs, node string, observes func(instance string) bool, mayExec bool) (tasks []task, problems []cluster.Problem) {
	s := in.Service
	for _, state := range cluster.Resolve(in).Instances {
		own := state.Node == node && node != ""
		if state.Status == cluster.Refused || state.Status == cluster.Duplicate || !own && (state.Node != "" || !observes(state.Instance.ID)) {
			continue
		}
		t := task{id: ID{s.Name, state.Instance.ID}, own: own, listeners: listeners(s, state.Instance), where: state.Instance.Address(), wishes: s.Load != nil && s.Load.Agent != 0}
		if s.Check != nil {
			full := s.Check.WithDefaults()
			t.check = &full
		}
		t.direct(s, state.Instance, mayExec)
		t.question = t.ask()
		if t.check == nil && !own {
			continue // the kernel here shows nothing of it
		}
		if s.Check != nil && s.Check.Exec != nil && t.check == nil {
			problems = []cluster.Problem{notRun(s, node)}
		}
		tasks = append(tasks, t)
	}
	return tasks, problems
}

// ask makes the question of a check that has one.
func (t task) ask() []byte {
	switch {
	case t.question != nil || t.check == nil:
		return t.question
	case t.check.HTTP != nil:
		return []byte(request(t))
	case t.check.GRPC != nil:
		return healthQuestion(t)
	}
	return nil
}

// direct finds where the check connects to, and drops a check that cannot be run here.
func (t *task) direct(s *cluster.Service, inst cluster.Instance, mayExec bool) {
	if t.check == nil {
		return
	}
	switch t.check.Kind() {
	case "tcp", "http", "grpc":
		port, found := s.CheckPort()
		if found {
			t.address, found = inst.Target(port)
		}
		if !found {
			t.check = nil // it does not offer that port, and Resolve has said what there is to say
		}
	case "exec":
		if !t.own || !mayExec {
			t.check = nil
		}
	case "ttl":
		if !t.own {
			t.check = nil
		}
	default:
		t.check = nil
	}
}

func listeners(s *cluster.Service, inst cluster.Instance) (out []netip.AddrPort) {
	for _, port := range s.Ports {
		if a, ok := inst.Target(port); ok && port.Protocol == cluster.TCP {
			out = append(out, a)
		}
	}
	return out
}

// homeless says whether some instances of a service run on no node of ours.
func homeless(in *cluster.Inputs) bool {
	return len(in.Hosts) < len(in.Service.Instances)+len(in.Registered)
}

// hosts says whether some run on this one.
func hosts(in *cluster.Inputs, node string) bool {
	for _, h := range in.Hosts {
		if h.Node == node {
			return true
		}
	}
	return false
}

func notRun(s *cluster.Service, node string) cluster.Problem {
	return cluster.Problem{
		Object: "service " + s.Name, Field: "check.exec",
		What: "node " + node + " runs no programs for checks, so the service's instances there are only watched by the kernel's signs",
		Fix:  "start the node's agent, or weir loadmon where that runs beside it, with --allow-exec-checks, or use another kind of check",
	}
}
