package cluster

import (
	"cmp"
	"strings"
)

// Problem is a fault in somebody's configuration, as data. It harms only the object that it names: the rest is served.
type Problem struct {
	Object string `json:"object"`          // "service a", "node n1", "key net/services/a"
	Field  string `json:"field,omitempty"` // "instances[3].address"
	What   string `json:"what"`            // what is wrong, and why that is not possible
	Fix    string `json:"fix,omitempty"`   // what to do about it
}

// Error makes a Problem usable as an error where one has to be refused.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Object)
	if p.Field != "" {
		b.WriteString(": " + p.Field)
	}
	b.WriteString(": " + p.What)
	if p.Fix != "" {
		b.WriteString(": " + p.Fix)
	}
	return b.String()
}

// Wrong is what is wrong with which field, without the object, which stands beside it where it is shown.
func (p Problem) Wrong() string {
	if p.Field == "" || p.What == "" {
		return p.Field + p.What
	}
	return p.Field + ": " + p.What
}

// Compare orders problems so that every node lists them alike.
func (p Problem) Compare(q Problem) int {
	return cmp.Or(cmp.Compare(p.Object, q.Object), cmp.Compare(p.Field, q.Field), cmp.Compare(p.What, q.What))
}
