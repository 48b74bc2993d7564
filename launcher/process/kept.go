package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process/shim"
)

// Kept says where the output of instances is: of those that were stopped a short while ago first.
func (d *Driver) Kept() ([]launcher.Kept, error) {
	stopped, serr := d.kept(filepath.Join(d.config.Dir, stopped), true)
	there, err := d.kept(d.config.Dir, false)
	if errors.Is(serr, os.ErrNotExist) {
		serr = nil // none was stopped yet
	}
	return append(stopped, there...), errors.Join(serr, err)
}

func (d *Driver) kept(dir string, stopped bool) (out []launcher.Kept, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !e.IsDir() {
			continue
		}
		k := launcher.Kept{ID: e.Name(), Dir: filepath.Join(dir, e.Name()), Stopped: stopped}
		if o, err := shim.ReadOrder(k.Dir); err == nil {
			k.Service = o.Spec.Service
		} else if r, err := shim.ReadRecord(k.Dir); err == nil {
			k.Service = r.Service
		}
		out = append(out, k)
	}
	return out, err
}
