package cluster

import (
	"errors"
	"fmt"
)

// Change is one write that operators make. A store commits it whole or not at all, in one transaction, and moves the
// barrier in the same transaction so that every agent acknowledges at once.
type Change interface{ change() }

// Publish writes a service. Service.ModRevision is the revision that the change was planned on, 0 when the service must
// not exist yet; Previous is what stood there, so that frontends that are given up are released.
type Publish struct{ Service, Previous *Service }

// Withdraw removes a service as it stood at its ModRevision, and all that is said about it. Instances of it that Weir started go,
// too. With ModRevision 0 and a Run the service is not there, or nobody can read it, and what is left of it is removed.
type Withdraw struct{ Service *Service }

// SetAdmin says what an operator wants of one instance; nil takes it back.
type SetAdmin struct {
	Service, ID string
	Admin       *Admin
}

// SetNodeAdmin says what an operator wants of a node; nil takes it back.
type SetNodeAdmin struct {
	Node  string
	Admin *NodeAdmin
}

// SetConfig replaces the configuration.
type SetConfig struct {
	Config    *Config
	KeepPause bool // whether automatic decisions are paused stays as it is, whatever Config says
}

// ForgetNode removes all that is said about a node, its registered instances included. An operator's is refused with ErrAlive
// or ErrLaunching while the node's agent or launcher is in touch. As a leader's decision it does nothing while the agent is.
// What a launcher that is there told of its instances stays.
type ForgetNode struct {
	Node  string
	Alive bool // also when its agent or launcher is in touch with etcd
}

// SetPaused stops all automatic decisions, or lets them go on. The rest of the configuration stays as it is.
type SetPaused struct{ Paused bool }

// AcceptHeld lets deletions pass that agents hold back, up to the revision.
type AcceptHeld struct{ Revision int64 }

func (Publish) change()      {}
func (Withdraw) change()     {}
func (SetAdmin) change()     {}
func (SetNodeAdmin) change() {}
func (SetConfig) change()    {}
func (SetDown) change()      {}
func (ForgetNode) change()   {}
func (SetPaused) change()    {}
func (AcceptHeld) change()   {}
func (SetScaled) change()    {}

// What a store answers when it does not commit. Callers ask with errors.Is and errors.As.
var (
	ErrConflict    = errors.New("somebody else changed it in between")
	ErrUnreachable = errors.New("etcd cannot be reached")
	ErrDenied      = errors.New("etcd denies it")
	ErrUnsafe      = errors.New("refused as unsafe")
)

// TakenError says that a frontend belongs to another service.
type TakenError struct {
	Frontend Frontend
	Owner    string
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("%s is taken by service %s: choose another VIP or port, or withdraw %s", e.Frontend, e.Owner, e.Owner)
}

// Is makes a taken frontend a conflict.
func (e *TakenError) Is(target error) bool { return target == ErrConflict }
