package cluster

import "errors"

// ErrNotLeading says that a decision was not written because somebody else leads by now, or nobody.
var ErrNotLeading = errors.New("no longer leading")

// Decision is one write that only the elected leader makes. What is written together happens together, or not at all.
type Decision interface{ decision() }

// SetWeights replaces the leader's weights of a service; nil takes them back. Of a service that is gone nothing is written.
type SetWeights struct {
	Service string
	Weights *Weights
}

// SetDown declares a node down; nil takes it back.
type SetDown struct {
	Node string
	Down *Down
}

// SetSecret replaces the token by which the load monitors know who may ask them.
type SetSecret struct{ Token string }

func (SetWeights) decision() {}
func (SetDown) decision()    {}
func (SetSecret) decision()  {}
