package ipt

import (
	"context"

	"github.com/weir-lb/weir/rules"
)

type place struct {
	family *family
	table  string
}
type size struct{ entries, bytes uint32 }

func (d *Driver) own(pid int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pids[pid] = true
}

func (d *Driver) writes() (done func()) { return func() {} }
func (d *Driver) settle()               {}

// Watch is to come.
func (d *Driver) Watch(ctx context.Context, changed func(rules.Foreign)) error {
	<-ctx.Done()
	return nil
}
