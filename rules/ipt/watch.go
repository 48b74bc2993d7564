package ipt

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/weir-lb/weir/rules"
)

// Watch tells of changes to our rules by anybody else. iptables-nft changes tables of nf_tables, and the kernel tells of
// each. Of iptables-legacy it tells nothing, so the sizes of our tables are looked at.
func (d *Driver) Watch(ctx context.Context, changed func(rules.Foreign)) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.found:
	}
	if d.variant == NFT {
		return d.watchNotices(ctx, changed)
	}
	return d.watchSizes(ctx, changed)
}

// own remembers a process of ours. The caller holds the lock.
func (d *Driver) own(pid int) {
	if len(d.pids) == 64 { // what was long ago says nothing: numbers are used again
		d.pids = slices.Delete(d.pids, 0, 1)
	}
	d.pids = append(d.pids, pid)
}

// lookEvery is how often the sizes of the tables of iptables-legacy are looked at. It costs four system calls.
const lookEvery = 250 * time.Millisecond

// watchSizes finds changes by the number of a table's rules and their bytes. A change that keeps both is left to the
// regular check.
func (d *Driver) watchSizes(ctx context.Context, changed func(rules.Foreign)) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		where, err := d.resized()
		if err != nil {
			return fmt.Errorf("watch iptables: %w", err)
		}
		if where != nil {
			changed(rules.Foreign{What: fmt.Sprintf("table %s of %s has another size", where.table, where.family.program)})
		}
	}
}

// resized is a table whose size is not the one that we left, which is then the one that we know.
func (d *Driver) resized() (*place, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writing {
		return nil, nil
	}
	now, err := d.measure()
	if err != nil {
		return nil, err
	}
	before := d.sizes
	d.sizes = now
	for _, f := range families {
		for _, table := range tables {
			if at := (place{f, table}); now[at] != before[at] {
				return &at, nil
			}
		}
	}
	return nil, nil
}

// writes marks the time in which sizes change by our own doing.
func (d *Driver) writes() (done func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writing = true
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.settled() // before anybody else looks
		d.writing = false
	}
}

// settle takes the sizes of the tables as those that we have just read.
func (d *Driver) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled()
}

// settled takes the sizes of the tables as those that we know. The caller holds the lock.
func (d *Driver) settled() {
	if d.variant != Legacy {
		return
	}
	if now, err := d.measure(); err == nil {
		d.sizes = now
	}
}
