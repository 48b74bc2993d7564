package cluster

import (
	"hash/maphash"
	"iter"
	"maps"
)

const mapBuckets = 256

// One seed for all maps of the process, so that equal keys meet in the same bucket of every version.
var mapSeed = maphash.MakeSeed()

// Map is an immutable map whose versions share every bucket that did not change. It exists so that a change to one
// service of ten thousand costs the copy of one bucket, and so that two versions are compared by 256 pointers instead
// of ten thousand entries. The zero value is an empty map.
type Map[K comparable, V comparable] struct {
	buckets *[mapBuckets]*map[K]V
	n       int
}

func bucketOf[K comparable](key K) int {
	return int(maphash.Comparable(mapSeed, key) % mapBuckets)
}

// Len is the number of entries.
func (m Map[K, V]) Len() int { return m.n }

// Get returns the value of a key, and whether there is one.
func (m Map[K, V]) Get(key K) (V, bool) {
	if m.buckets != nil {
		if bucket := m.buckets[bucketOf(key)]; bucket != nil {
			v, ok := (*bucket)[key]
			return v, ok
		}
	}
	var zero V
	return zero, false
}

// All yields every entry, in no order.
func (m Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.buckets == nil {
			return
		}
		for _, bucket := range m.buckets {
			if bucket == nil {
				continue
			}
			for k, v := range *bucket {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// Changed yields every key whose value differs between two versions, with both values; an absent value is the zero V.
// Shared buckets are skipped unseen.
func Changed[K comparable, V comparable](old, new Map[K, V]) iter.Seq2[K, [2]V] {
	return func(yield func(K, [2]V) bool) {
		for i := range mapBuckets {
			a, b := old.bucket(i), new.bucket(i)
			if a == b {
				continue
			}
			for k, v := range a.entries() {
				w, still := b.entries()[k]
				if still && v == w {
					continue
				}
				if !yield(k, [2]V{v, w}) {
					return
				}
			}
			for k, w := range b.entries() {
				if _, before := a.entries()[k]; before {
					continue
				}
				var zero V
				if !yield(k, [2]V{zero, w}) {
					return
				}
			}
		}
	}
}

type bucket[K comparable, V comparable] struct{ m *map[K]V }

func (b bucket[K, V]) entries() map[K]V {
	if b.m == nil {
		return nil
	}
	return *b.m
}

func (m Map[K, V]) bucket(i int) bucket[K, V] {
	if m.buckets == nil {
		return bucket[K, V]{}
	}
	return bucket[K, V]{m.buckets[i]}
}

// MapEdit collects changes to a Map. It is not safe for concurrent use.
type MapEdit[K comparable, V comparable] struct {
	m     Map[K, V]
	owned [mapBuckets]bool // buckets that this edit has copied and may write
}

// Edit starts a new version of m; m itself never changes.
func (m Map[K, V]) Edit() *MapEdit[K, V] {
	e := &MapEdit[K, V]{m: m}
	e.m.buckets = new([mapBuckets]*map[K]V)
	if m.buckets != nil {
		*e.m.buckets = *m.buckets
	}
	return e
}

// Set puts one entry.
func (e *MapEdit[K, V]) Set(key K, value V) {
	bucket := e.own(bucketOf(key))
	if _, ok := bucket[key]; !ok {
		e.m.n++
	}
	bucket[key] = value
}

// Delete removes one entry, if it is there.
func (e *MapEdit[K, V]) Delete(key K) {
	if _, ok := e.m.Get(key); !ok {
		return
	}
	delete(e.own(bucketOf(key)), key)
	e.m.n--
}

// Get sees the edit's own changes.
func (e *MapEdit[K, V]) Get(key K) (V, bool) { return e.m.Get(key) }

// Map seals the edit. The edit must not be used afterwards.
func (e *MapEdit[K, V]) Map() Map[K, V] { return e.m }

func (e *MapEdit[K, V]) own(i int) map[K]V {
	if !e.owned[i] {
		e.owned[i] = true
		copied := map[K]V{}
		if shared := e.m.buckets[i]; shared != nil {
			copied = maps.Clone(*shared)
		}
		e.m.buckets[i] = &copied
	}
	return *e.m.buckets[i]
}
