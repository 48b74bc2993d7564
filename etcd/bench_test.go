package etcd

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

const benchServices = 10_000

// What a node does with the first list of 10,000 services.
func BenchmarkFirstList(b *testing.B) {
	l := full(b, 20_000, benchServices)
	b.ReportAllocs()
	for b.Loop() {
		v := newView()
		v.list(l)
		require.Equal(b, benchServices, v.snapshot().Services.Len())
	}
}

// A list in which nothing is new, as each half hour.
func BenchmarkSameList(b *testing.B) {
	l := full(b, 20_000, benchServices)
	v := newView()
	v.list(l)
	b.ReportAllocs()
	for b.Loop() {
		v.list(l)
		v.snapshot()
	}
}

// One event among 10,000 services.
func BenchmarkOneEvent(b *testing.B) {
	v := newView()
	v.list(full(b, 20_000, benchServices))
	v.snapshot()
	events := make([]event, 1000)
	for i := range events {
		events[i] = event{put(b, svc(fmt.Sprint("s", i), i+30_000), 0), false}
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		e := events[n%len(events)]
		e.modded = int64(30_000 + n)
		v.events([]event{e})
		v.snapshot()
		n++
	}
}

// One event more among 100,000 values that nobody can read.
func BenchmarkOneMalformedEvent(b *testing.B) {
	const malformed = 100_000
	v := newView()
	next := func(n int) []event {
		return []event{{entry{key: fmt.Sprint("net/services/bad-", n%malformed), value: []byte(fmt.Sprint("{", n)), created: int64(n), modded: int64(n + 1)}, false}}
	}
	n := 0
	for ; n < malformed; n++ {
		v.events(next(n))
	}
	require.Len(b, v.snapshot().Problems, malformed)
	b.ReportAllocs()
	for b.Loop() {
		v.events(next(n))
		v.snapshot()
		n++
	}
}
