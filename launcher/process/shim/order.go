package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher"
)

// The files of an instance's directory.
const (
	orderFile  = "order.json"
	graceFile  = "grace"
	OutputFile = "output.log" // and output.log.1 and so on, older ones
	LockFile   = "lock"
)

// Order is what a shim is to do: the Spec and what the launcher made of it.
type Order struct {
	Spec    launcher.Spec `json:"spec"`
	Program string        `json:"program"` // the file that is run, and where: the Spec's, or where its links lead
	WorkDir string        `json:"workDir"`
	UID     uint32        `json:"uid"`
	GID     uint32        `json:"gid"`
	Switch  bool          `json:"switch"`           // to that user; false: it is the launcher's own
	Login   []string      `json:"login,omitempty"`  // HOME and USER, where the Spec does not say
	Given   []string      `json:"given,omitempty"`  // variables beside the Spec's
	EnvFile string        `json:"envFile"`          // where the environment is written as well
	Parent  string        `json:"parent,omitempty"` // the control group above the instance's own; empty: none is made
	Output  Output        `json:"output"`
}

// Output is how much of an instance's output is kept: at most Bytes in all, in Files files.
type Output struct {
	Bytes int64 `json:"bytes"`
	Files int   `json:"files"`
}

// ReadOrder reads the order of a directory.
func ReadOrder(dir string) (Order, error) {
	var o Order
	data, err := readFile(filepath.Join(dir, orderFile))
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, fmt.Errorf("read %s: %w", filepath.Join(dir, orderFile), err)
	}
	return o, nil
}

// WriteOrder writes it whole or not at all.
func WriteOrder(dir string, o Order) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return errors.Join(replaceFile(filepath.Join(dir, orderFile), data), replaceFile(filepath.Join(dir, graceFile), graceText(o.Spec.Patience())))
}

// WriteGrace tells a shim how long its instance has from TERM to KILL; the signal to look follows. It writes over what is
// there, so that a full disk keeps nothing from being stopped.
func WriteGrace(dir string, grace time.Duration) error {
	f, err := os.OpenFile(filepath.Join(dir, graceFile), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(graceText(grace))
	return errors.Join(err, f.Close())
}

// graceText has the same length for every grace.
func graceText(grace time.Duration) []byte { return fmt.Appendf(nil, "%31s\n", grace) }

// readGrace is what a stop said, or the Spec's own when somebody else sent the signal.
func readGrace(dir string, spec launcher.Spec) time.Duration {
	if data, err := readFile(filepath.Join(dir, graceFile)); err == nil {
		if d, err := time.ParseDuration(strings.TrimSpace(string(data))); err == nil && d >= 0 {
			return d
		}
	}
	return spec.Patience()
}

// replaceFile writes beside and renames.
func replaceFile(name string, data []byte) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), name)
}

func readFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAtMost(f, 8<<20)
}
