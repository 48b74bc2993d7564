package process

import (
	"path/filepath"
	"time"

	"github.com/weir-lb/weir/launcher/process/shim"
)

// Locked says whether the directory of an instance has a shim.
func Locked(dir string) (bool, error) { return locked(filepath.Join(dir, shim.LockFile)) }

// SetPatience is how long a stop waits for a shim beyond the grace.
func SetPatience(d *Driver, patience time.Duration) { d.patience = patience }
