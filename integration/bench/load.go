package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// measureLoad loads whole clusters into empty kernels, this way and the usual way.
func measureLoad(t *trial) {
	ours := map[int]time.Duration{}
	for _, size := range pick(t, []loadSize{{1000, 9}, {10_000, 7}, {50_000, 3}}, []loadSize{{1000, 5}, {10_000, 3}}) {
		row, middle := load(t, size)
		t.report(row)
		ours[size.services] = middle
	}
	for _, services := range pick(t, []int{1000, 10_000}, []int{1000}) {
		t.report(usualRows(t, services, ours[services])...)
	}
}

type loadSize struct{ services, times int }

// load brings a snapshot into a fresh kernel several times.
func load(t *trial, size loadSize) (Row, time.Duration) {
	snapshot := draft(size.services, 0).Snapshot(1 << 40)
	var took, cpu []time.Duration
	var grown []float64
	for range size.times {
		runtime.GC()
		k := newKernel(t)
		t.pause(200 * time.Millisecond) // the kernel clears the last one away behind our back
		slab, used, start := t.slab(), t.used(), time.Now()
		k.read(t)
		k.bring(t, snapshot)
		took, cpu = append(took, time.Since(start)), append(cpu, t.used()-used)
		grown = append(grown, t.slab()-slab)
		k.close(t)
	}
	row := loadRow(size, snapshot, took, cpu, grown)
	middle := row.Numbers["median_s"]
	if size.services == 10_000 {
		row = row.want("<= 0.8 s", middle <= 0.8)
	}
	return row, time.Duration(middle * float64(time.Second))
}

func loadRow(size loadSize, snapshot *cluster.Snapshot, took, cpu []time.Duration, grown []float64) Row {
	slices.Sort(cpu)
	slices.Sort(grown)
	row := median(fmt.Sprintf("%d services x %d, snapshot to empty kernel", snapshot.Services.Len(), instancesEach), took)
	row.Numbers["cpu_s"], row.Numbers["slab_mib"] = quantile(cpu, 0.5).Seconds(), quantile(grown, 0.5)
	return row.also(", CPU %.3g s, kernel +%.0f MiB", row.Numbers["cpu_s"], row.Numbers["slab_mib"])
}
