package cluster

import "slices"

// complaints are the problems of all keys, sorted. A key more costs one walk through the others and no sorting of them:
// hundreds of thousands may stand, and more arrive by the hundred.
type complaints struct {
	byKey      map[string]Problem
	sealed     []Problem // as last told; never changed, for snapshots share it
	come, gone []Problem // since then
}

func (c *complaints) set(key string, p *Problem) {
	before, known := c.byKey[key]
	switch {
	case p == nil && !known, p != nil && known && before == *p:
		return
	case known:
		c.gone = append(c.gone, before)
		delete(c.byKey, key)
	}
	if p != nil {
		c.come = append(c.come, *p)
		c.byKey[key] = *p
	}
}

// seal is the list as it is now. It is the one of the time before where nothing changed.
func (c *complaints) seal() []Problem {
	if len(c.come) == 0 && len(c.gone) == 0 {
		return c.sealed
	}
	slices.SortStableFunc(c.come, Problem.Compare)
	slices.SortStableFunc(c.gone, Problem.Compare)
	c.sealed = without(MergeProblems(c.sealed, c.come), c.gone)
	c.come, c.gone = nil, nil
	return c.sealed
}

// MergeProblems makes one sorted list of two, the first's before equals of the second. It may return either of them.
func MergeProblems(list, more []Problem) []Problem {
	switch {
	case len(more) == 0:
		return list
	case len(list) == 0:
		return more
	}
	out := make([]Problem, 0, len(list)+len(more))
	for _, p := range more {
		n, _ := slices.BinarySearchFunc(list, p, func(a, b Problem) int {
			if a.Compare(b) <= 0 {
				return -1
			}
			return 1
		})
		out = append(append(out, list[:n]...), p)
		list = list[n:]
	}
	return append(out, list...)
}

// without takes from a sorted list each problem of another sorted one, once. All of these are in it.
func without(list, gone []Problem) []Problem {
	switch {
	case len(gone) == 0:
		return list
	case len(gone) == len(list):
		return nil
	}
	out := make([]Problem, 0, len(list)-len(gone))
	for _, p := range gone {
		n, _ := slices.BinarySearchFunc(list, p, Problem.Compare)
		out = append(out, list[:n]...)
		list = list[n+1:]
	}
	return append(out, list...)
}
