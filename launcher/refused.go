package launcher

import (
	"errors"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// refusal is an ErrRefused with its reasons.
type refusal struct{ problems []cluster.Problem }

// Refuse makes an error of problems; nil of none.
func Refuse(problems []cluster.Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &refusal{problems}
}

// RefuseID is the error of what cannot be the id of an instance; nil of one that can.
func RefuseID(id string) error {
	why := cluster.ValidID(id)
	if why == "" {
		return nil
	}
	return Refuse([]cluster.Problem{{Object: "instance " + plain.Line(id, 80), Field: "id", What: why}})
}

func (r *refusal) Error() string {
	texts := make([]string, len(r.problems))
	for i, p := range r.problems {
		texts[i] = p.Error()
	}
	return ErrRefused.Error() + ": " + strings.Join(texts, "; ")
}

func (r *refusal) Unwrap() error { return ErrRefused }

// Problems are the reasons of a refusal; none of any other error.
func Problems(err error) []cluster.Problem {
	var r *refusal
	if errors.As(err, &r) {
		return r.problems
	}
	return nil
}
