package sample

import "time"

// memo keeps what was read for a while, all of it until the same moment.
type memo[T any] struct {
	values map[string]T
	since  time.Time
}

func (m *memo[T]) get(key string, now time.Time, keep time.Duration, read func() T) T {
	if m.values == nil || now.Sub(m.since) >= keep {
		m.values, m.since = map[string]T{}, now
	}
	value, known := m.values[key]
	if !known {
		value = read()
		m.values[key] = value
	}
	return value
}
