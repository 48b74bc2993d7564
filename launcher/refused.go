package launcher

import (
	"errors"
	"strings"

	"github.com/weir-lb/weir/cluster"
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
