package cluster

import (
	"errors"
	"fmt"
	"time"
)

// ErrNotLeading says that a decision was not written because somebody else leads by now, or nobody.
var ErrNotLeading = errors.New("no longer leading")

// Decision is one write that only the elected leader makes. What is written together happens together, or not at all.
type Decision interface{ decision() }

// SetWeights replaces the leader's weights of a service; nil takes them back. Of a service that is gone nothing is written.
type SetWeights struct {
	Service string
	Weights *Weights
}

// SetCalled replaces what was decided about a service's instances that stand by; nil takes it back. Of a service that is
// gone nothing is written.
type SetCalled struct {
	Service string
	Called  *Called
}

// SetDown declares a node down; nil takes it back. A node whose agent is in touch with etcd is not declared down: the
// store answers ErrAlive and writes nothing of what was to be written together. Operators may do it too: it is also a Change.
type SetDown struct {
	Node string
	Down *Down
}

// ErrAlive says that a node was not declared down, since its agent is in touch with etcd.
var ErrAlive = fmt.Errorf("%w: the node's agent is in touch with etcd", ErrConflict)

// ErrLaunching says that a node was not forgotten, since its launcher is in touch with etcd.
var ErrLaunching = fmt.Errorf("%w: the node's launcher is in touch with etcd", ErrConflict)

// AsOf says what decisions were made from. Where the configuration, with a pause in it, was written after that, or what somebody
// said of the number of any service's instances, the store answers ErrStale and writes nothing of what was to be written together:
// the two are learned by different ways, so that the later one may be seen first.
type AsOf struct {
	Config int64 // the configuration's own revision, Snapshot.Configured
	Scaled int64 // up to here all words of numbers were seen; 0: they do not matter
}

// ErrStale says that decisions were not written, since something was said that they do not know of.
var ErrStale = fmt.Errorf("%w: it was decided from what is no longer so", ErrConflict)

// SetGone says what the leader makes of a node whose agent is gone; nil: nothing any more.
type SetGone struct {
	Node string
	Gone *Gone
}

// SetSecret replaces the token by which the load monitors know who may ask them.
type SetSecret struct{ Token string }

// Buried takes back that a service was withdrawn, once nothing of it runs any more; as it stood at a revision, for it may have
// been withdrawn anew.
type Buried struct {
	Service     string
	ModRevision int64
}

// Assign has a node's launcher keep an instance, and claims the ports of it that it did not have before. Where one of them
// is somebody else's nothing of it is written: the next look tells.
type Assign struct {
	Node, ID   string
	Assignment Assignment
	Claims     []uint16 // ports that are new
}

// Unassign forgets an instance that is gone, and frees its ports as of a revision.
type Unassign struct {
	Node, ID  string
	Service   string
	Ports     []uint16
	Since     time.Time
	Revision  int64
	Busy      uint16 // the one of its ports that is somebody else's; 0: none
	Forgotten bool   // with its node: what the launcher told of it goes too, unless a launcher is there again
}

// FreePort ends a claim.
type FreePort struct {
	Node string
	Port uint16
}

// SetScaled says how many instances a service should have, unless somebody said so since Scaled.ModRevision. Of a service
// that is gone nothing is written.
type SetScaled struct {
	Service string
	Scaled  *Scaled // nil: it is forgotten
}

// SetMoved notes that an instance of a service moves off a busy node. Of a service that is gone nothing is written.
type SetMoved struct {
	Service string
	Moved   *Moved
}

// SetCrashes notes of which ends of a service's instances events tell; nil forgets it.
type SetCrashes struct {
	Service string
	Crashes *Crashes
}

// ClearWake forgets that somebody connected.
type ClearWake struct{ Service string }

// Acknowledge has every agent tell at once what it has applied.
type Acknowledge struct{ Reason string }

func (Acknowledge) decision() {}
func (Assign) decision()      {}
func (Buried) decision()      {}
func (Unassign) decision()    {}
func (FreePort) decision()    {}
func (SetScaled) decision()   {}
func (SetMoved) decision()    {}
func (SetCrashes) decision()  {}
func (ForgetNode) decision()  {}
func (ClearWake) decision()   {}

func (SetWeights) decision() {}
func (SetCalled) decision()  {}
func (SetDown) decision()    {}
func (SetGone) decision()    {}
func (AsOf) decision()       {}
func (SetSecret) decision()  {}
