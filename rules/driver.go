package rules

import (
	"context"
	"errors"
)

// Driver writes rules into a kernel and reads them back. It decides nothing: what it gets is a Plan, and what it gives
// is a State. The goals, and where they fight:
//
//  1. All or nothing. Each phase of a Plan is one kernel transaction; a reader of packets never sees half of one. A
//     change of size needs two phases (see Plan), so an Apply that fails may have done the first: Read tells.
//  2. Idempotent. Applying what is there already is not an error.
//  3. Only ours. Nothing is read, changed or needed that other programs made.
//  4. Complete. After Apply(Diff(Read, want)), Diff(Read, want) is empty, whatever the history.
//
// rulestest.TestDriver holds every implementation to them.
type Driver interface {
	// Name is nft or ipt.
	Name() string
	// Read finds what the kernel holds of ours.
	Read(ctx context.Context) (*State, error)
	// Apply carries out a plan that was made from the last State. ErrShadow: the kernel holds something else than that
	// State says. ErrRejected: the kernel does not take an object of the plan.
	Apply(ctx context.Context, plan *Plan) error
	// Watch calls changed whenever somebody else touched our rules, with what is known of it, until the context ends;
	// then it returns nil.
	Watch(ctx context.Context, changed func(Foreign)) error
	// Clean removes everything of ours and nothing else.
	Clean(ctx context.Context) error
}

// Foreign tells of a change that somebody else made to our rules.
type Foreign struct {
	What string // "table ip weir: table deleted"
	Who  string // "nft (pid 4711)", as far as the kernel tells
	Lost bool   // notices were lost: anything may have changed
}

// What Apply may answer. Drivers wrap them; callers ask with errors.Is.
var (
	ErrShadow     = errors.New("the kernel holds something else than remembered")
	ErrRejected   = errors.New("the kernel rejects it")
	ErrOwned      = errors.New("another process owns our table")
	ErrPermission = errors.New("not permitted")
)
