package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// DefaultGroup is the control group that the instances' own groups are in. It is not below the launcher's: what stops the
// launcher's service must not stop them.
const DefaultGroup = "weir"

// Config is what a driver is opened with.
type Config struct {
	Dir    string // of the state; made when it is not there. It must belong to this user and be closed to all others
	EnvDir string // of the environment files, which their users must reach: DIR would not let them. Empty: DIR-env

	// Shim is the command of a shim; the directory of its instance is appended. Empty: this program and "shim".
	Shim []string

	Group string // control group above those of the instances, below the root of each hierarchy. Empty: none are made
	User  string // of an instance that names none. Empty: such an instance is refused when the launcher is root

	// Given are further variables of an instance, NAME=VALUE, that are no part of what it was asked to run by: they may differ
	// from one start to the next. Nil: none.
	Given func(id string) []string `json:"-"`

	OutputBytes int64 // kept of each instance's output, in all. 0: 10 MiB. Less than 64 KiB is not taken
	OutputFiles int   // that it is kept in; one of them is lost at a time. 0: 4
	KeepStopped int   // of how many stopped instances the output is kept. 0: 20; negative: none

	StartTimeout time.Duration // from the first step to a running program. 0: 10s
}

// complete fills in the defaults and reports all mistakes.
func (c Config) complete() (Config, error) {
	var errs []error
	if !filepath.IsAbs(c.Dir) {
		errs = append(errs, fmt.Errorf("directory %q is not an absolute path", c.Dir))
	}
	if c.EnvDir == "" {
		c.EnvDir = c.Dir + "-env"
	}
	if len(c.Shim) == 0 {
		self, err := os.Executable()
		errs = append(errs, err)
		c.Shim = []string{self, "shim"}
	}
	if strings.Contains(c.Group, "..") || strings.HasPrefix(c.Group, "/") {
		errs = append(errs, fmt.Errorf("control group %q is not below the root of its hierarchy", c.Group))
	}
	if c.OutputBytes == 0 {
		c.OutputBytes = 10 << 20
	}
	if c.OutputFiles == 0 {
		c.OutputFiles = 4
	}
	if c.OutputBytes < 64<<10 || c.OutputFiles < 1 || c.OutputFiles > 100 {
		errs = append(errs, fmt.Errorf("output of %d bytes in %d files: want at least 64 KiB in 1 to 100", c.OutputBytes, c.OutputFiles))
	}
	if c.KeepStopped == 0 {
		c.KeepStopped = 20
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = 10 * time.Second
	}
	return c, errors.Join(errs...)
}
