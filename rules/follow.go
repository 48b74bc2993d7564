package rules

import (
	"context"
	"net/netip"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Follower is a driver that can show what the kernel does with real connections, as they come.
type Follower interface {
	// Follow tells of each new connection to a frontend until the context ends; then it returns nil. Nothing is left
	// behind, however the process ends. Where the kernel cannot do that it fails with errors.ErrUnsupported.
	Follow(ctx context.Context, o FollowOptions, seen func(Attempt)) error
}

// FollowOptions say what to follow.
type FollowOptions struct {
	Frontend cluster.Frontend
	Rate     int               // connections each second that are looked at, at most: what bounds the cost. Default 100
	Ready    func()            // called when it has begun; may be nil
	Missed   func(what string) // called when something was not seen; may be nil
}

// Attempt is one real connection attempt, and what became of it.
type Attempt struct {
	At       time.Time        `json:"at"`
	Frontend cluster.Frontend `json:"frontend"`
	Client   netip.AddrPort   `json:"client"`
	Local    bool             `json:"local"` // by a process of this node
	Outcome  Outcome          `json:"outcome"`
	Target   netip.AddrPort   `json:"target,omitzero"` // of one that was sent
	As       netip.AddrPort   `json:"as,omitzero"`     // the source that the target sees, where it is another than the client
	Steps    []Step           `json:"steps,omitempty"`
}
