package etcd

import (
	"slices"
	"strings"
)

// Span is a right on the keys From <= key < To.
type Span struct {
	From, To    string // To "": all that follows
	Read, Write bool
}

// Excess is the part of granted that allowed does not give: what may be read, and what may be written, that should not.
func Excess(granted, allowed []Span) []Span {
	var out []Span
	for _, write := range []bool{true, false} {
		rights := func(s Span) bool { return write && s.Write || !write && s.Read }
		for _, g := range granted {
			if !rights(g) {
				continue
			}
			for _, left := range g.minus(allowed, rights) {
				left.Read, left.Write = !write, write
				// What may be written and read beyond is told once.
				if i := slices.IndexFunc(out, func(o Span) bool { return o.From == left.From && o.To == left.To }); i >= 0 {
					out[i].Read, out[i].Write = out[i].Read || left.Read, out[i].Write || left.Write
					continue
				}
				out = append(out, left)
			}
		}
	}
	return out
}

// minus is what is left of a span without those of the others that count.
func (s Span) minus(others []Span, counts func(Span) bool) (left []Span) {
	sorted := slices.SortedFunc(slices.Values(others), func(a, b Span) int { return strings.Compare(a.From, b.From) })
	for _, o := range sorted {
		if !counts(o) || o.To != "" && o.To <= s.From {
			continue
		}
		if s.To != "" && o.From >= s.To {
			break
		}
		if o.From > s.From {
			left = append(left, Span{From: s.From, To: o.From})
		}
		if o.To == "" || s.To != "" && o.To >= s.To {
			return left
		}
		s.From = o.To
	}
	return append(left, s)
}

// String is the span as an operator would name it.
func (s Span) String() string {
	switch {
	case s.To == s.From+"\x00":
		return printable(s.From)
	case s.To == "":
		return "everything from " + printable(s.From)
	case s.To == prefixEnd(s.From):
		return printable(s.From) + "*"
	}
	return printable(s.From) + " to " + printable(s.To)
}

func prefixEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return ""
}
