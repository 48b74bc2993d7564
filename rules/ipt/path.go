package ipt

import (
	"fmt"
	"slices"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// path is what a packet passes, chain by chain.
type path []rules.Step

func (w *path) step(chain, format string, args ...any) {
	*w = append(*w, rules.Step{Chain: chain, What: fmt.Sprintf(format, args...)})
}

// pathOf tells a verdict in the names of our chains.
func pathOf(s *rules.State, p rules.Packet, v rules.Verdict) []rules.Step {
	w, placed, chain := path{}, s.Placed[p.To], chainOf(p.To)
	hook := "PREROUTING"
	if p.Local {
		hook = "OUTPUT"
	}
	w.step(hook, "jump WEIR-SERVICES")
	if placed.Mode == rules.Absent {
		w.noFrontend(s, p)
		return w
	}
	w.step(dispatcherOf(p.To.VIP), "%s: jump %s", p.To, chain)
	if placed.Guarded {
		if !w.guarded(placed, p) {
			return w
		}
		chain = behindGuard(p.To)
	}
	switch {
	case placed.Mode == rules.Refuse:
		w.step(chain, "no target: goto WEIR-NO-ENDPOINT")
		w.step("WEIR-NO-ENDPOINT", "goto WEIR-OTHER")
		w.refused(p.To)
	case placed.Mode == rules.Hold:
		w.held(p, chain)
	case v.Outcome == rules.Unclear && placed.Mode == rules.Source:
		w.step(chain, "the target follows from the client's address, which is not given")
	case v.Outcome == rules.Unclear:
		w.step(chain, "leads to something that is not ours")
	case placed.Mode == rules.Random:
		w.step(chain, "one of the targets below, drawn by chance for each connection")
	case p.To.VIP.Is4():
		w.step(chain, "by hashes of %s: dnat to %s", p.Source, v.Target)
	default:
		w.step(chain, "by the last bits of %s: dnat to %s", p.Source, v.Target)
	}
	if v.Outcome == rules.Sent {
		w.masqueraded(p, v)
	}
	return w
}

func (w *path) noFrontend(s *rules.State, p rules.Packet) {
	i := slices.IndexFunc(s.Sets[rules.VIPs], func(n prefix) bool { return n.Contains(p.To.VIP) })
	if i < 0 {
		w.step("WEIR-SERVICES", "%s is neither a frontend nor a VIP", p.To)
		return
	}
	w.step(chainOfVIPs(s.Sets[rules.VIPs][i]), "%s is no frontend, but %s is a VIP: jump WEIR-OTHER", p.To, p.To.VIP)
	w.refused(p.To)
}

// guarded says whether a packet to a guarded frontend may go on.
func (w *path) guarded(placed rules.Placement, p rules.Packet) bool {
	chain := chainOf(p.To)
	switch {
	case !p.Source.IsValid():
		w.step(chain, "whether it may go on follows from the client's address, which is not given")
		return false
	case placed.Admits(p.Source):
		w.step(chain, "%s is among the sources: goto %s", p.Source, behindGuard(p.To))
		return true
	}
	w.step(chain, "%s is not among the sources: counted, goto WEIR-REFUSED", p.Source)
	w.step("WEIR-REFUSED", "goto WEIR-OTHER")
	w.refused(p.To)
	return false
}

// refused is the way of a packet from nat, which cannot refuse, to where it is.
func (w *path) refused(f cluster.Frontend) {
	w.step("WEIR-OTHER", "redirect to port %d of this node", refusedPort)
	w.step("WEIR-INPUT", "goto WEIR-REFUSE")
	if f.Proto == cluster.TCP {
		w.step("WEIR-REFUSE", "reject with tcp reset")
	} else {
		w.step("WEIR-REFUSE", "reject with port unreachable")
	}
}

// held is the way of a packet from nat, which cannot drop, to where it is.
func (w *path) held(p rules.Packet, chain string) {
	w.step(chain, "the agent is told, at most once a second: NFLOG group %d", rules.WakeGroup)
	w.step(chain, "goto WEIR-HOLD")
	w.step("WEIR-HOLD", "redirect to port %d of this node", heldPort)
	last := "WEIR-INPUT"
	if p.Local {
		last = "OUTPUT"
	}
	w.step(last, "drop")
}

func (w *path) masqueraded(p rules.Packet, v rules.Verdict) {
	chain := "WEIR-MASQ"
	if p.Local {
		chain = fromVIPChain
	}
	w.step(chain, "%s: %s", v.Why, v.What())
}
