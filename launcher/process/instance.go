package process

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/weir-lb/weir/launcher/process/shim"
)

// instance is what the disk says of one.
type instance struct {
	dir    string
	order  shim.Order
	record shim.Record // zero when no shim has written yet
	alive  bool        // its shim
}

var errNone = errors.New("there is no such instance")

// look reads the directory of an instance.
func (d *Driver) look(id string) (instance, error) {
	i := instance{dir: filepath.Join(d.config.Dir, id)}
	if err := checkDir(i.dir, 0o700); errors.Is(err, fs.ErrNotExist) {
		return i, errNone
	} else if err != nil {
		return i, err
	}
	var err error
	if i.order, err = shim.ReadOrder(i.dir); err != nil {
		return i, err
	}
	// The lock first: a shim writes its last record before it lets the lock go.
	if i.alive, err = locked(filepath.Join(i.dir, shim.LockFile)); err != nil {
		return i, err
	}
	if i.record, err = shim.ReadRecord(i.dir); shim.IsNoRecord(err) {
		err = nil
	}
	return i, err
}
