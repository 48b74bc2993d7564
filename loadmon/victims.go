package loadmon

import (
	"cmp"
	"slices"
	"time"
)

// Member is an instance that may have to go when there should be fewer.
type Member struct {
	ID          string
	Ready       bool          // it takes traffic, or would
	Current     bool          // it runs the newest version of its service
	Connections float64       // open ones; an instance that is not heard of should count as the fullest
	Age         time.Duration // since it was started
}

// Victims are the n that are missed least: those that are not ready, then of an older version, then with the fewest
// connections, then the youngest, whose memory is the coldest.
func Victims(members []Member, n int) []string {
	order := slices.SortedFunc(slices.Values(members), func(a, b Member) int {
		return cmp.Or(first(a.Ready, b.Ready), first(a.Current, b.Current), cmp.Compare(a.Connections, b.Connections), cmp.Compare(a.Age, b.Age), cmp.Compare(a.ID, b.ID))
	})
	out := []string{}
	for _, m := range order[:min(max(n, 0), len(order))] {
		out = append(out, m.ID)
	}
	return out
}

// first puts false before true.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
