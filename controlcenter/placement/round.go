package placement

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// round is one call of Plan.
type round struct {
	Input
	state    State
	rooms    map[string]*room
	ports    map[string]map[uint16]bool // claimed in this round
	actions  []Action
	problems []cluster.Problem
	made     int     // ids that were made in this round
	calm     []*team // services with which nothing is going on
	machines map[string]*machine
	lacks    []lack
}

// Plan decides what is to be done now. What it returns is to be written in its order; what was not written is found again by
// the next round.
func Plan(prev State, in Input) (State, []Action, []cluster.Problem) {
	r := &round{Input: in, ports: map[string]map[uint16]bool{}}
	r.recall(prev)
	r.warm()
	r.machines = r.machinesOf()
	r.rooms = r.allRooms()
	members := r.membersOf()
	if in.Snapshot.Held == nil && in.Snapshot.Ready {
		for name := range in.Snapshot.Services.All() {
			if members[name] == nil {
				members[name] = nil
			}
		}
		adopted := r.adopt(members)
		for _, name := range slices.Sorted(maps.Keys(members)) {
			if !adopted[name] {
				r.service(name, members[name])
			}
		}
		r.relieve(r.calm)
		r.bury(members, adopted)
		r.keepMachines()
		r.acquire()
		r.freePorts()
	}
	if held := in.Snapshot.Held; held != nil {
		r.problems = append(r.problems, cluster.Problem{
			Object: "launched instances", What: "nothing is placed, moved or stopped: deletions are held back: " + held.Reason,
			Fix: fmt.Sprintf("publish again what is missing; if it is meant: weir guard accept --revision %d", held.Revision),
		})
	}
	r.forget(members)
	if len(r.actions) > mostAtOnce {
		r.actions = r.actions[:mostAtOnce]
	}
	return r.state, r.actions, r.problems
}

// recall begins with what is remembered; State is a value.
func (r *round) recall(prev State) {
	r.state = State{draining: map[instanceKey]int64{}, empty: map[string]time.Time{}, refused: map[string]time.Time{}, hot: prev.hot, unreached: prev.unreached}
	maps.Copy(r.state.draining, prev.draining)
	maps.Copy(r.state.empty, prev.empty)
	maps.Copy(r.state.refused, prev.refused)
}

// forget drops what is remembered of instances that are gone.
func (r *round) forget(members map[string][]*member) {
	known := map[instanceKey]bool{}
	for _, list := range members {
		for _, m := range list {
			known[m.key()] = m.assignment.Wanted == cluster.WantDrained
		}
	}
	maps.DeleteFunc(r.state.draining, func(k instanceKey, _ int64) bool { return !known[k] })
}

func (r *round) down(node string) bool {
	_, down := r.Snapshot.Down[node]
	return down
}

// do adds one action.
func (r *round) do(what, service, reason string, decisions ...cluster.Decision) {
	a := Action{Decisions: decisions}
	if what != "" {
		a.Event = cluster.Event{At: r.Now, Service: service, What: what, Reason: reason}
	}
	r.actions = append(r.actions, a)
}

// newID is one that no instance had before: revisions never come back.
func (r *round) newID(service string) string {
	r.made++
	id := strconv.FormatInt(r.Operations.Revision, 36) + "-" + strconv.Itoa(r.made)
	return service[:min(len(service), 63-len(id)-1)] + "-" + id
}

// order makes the members' order one that does not depend on how they are kept.
func order(members []*member) {
	slices.SortFunc(members, func(a, b *member) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.node, b.node)) })
}

func named(service string) string { return fmt.Sprintf("service %s", service) }
