package hook

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/launcher"
)

// phase is how far a wish has come.
type phase string

const (
	acquiring phase = "acquiring" // the hook may or may not have heard of it
	holding   phase = "holding"   // it is there
	releasing phase = "releasing" // it is to go
)

// note is what is kept of an instance: enough to go on after a crash at any moment.
type note struct {
	Spec    launcher.Spec   `json:"spec"`
	Key     string          `json:"key"`
	Phase   phase           `json:"phase"`
	Host    netip.Addr      `json:"host,omitzero"`
	Started time.Time       `json:"started,omitzero"`
	Starts  int             `json:"starts"`
	Exits   []launcher.Exit `json:"exits,omitempty"`
	Why     string          `json:"why,omitempty"` // it is to go
}

func newKey() string { return rand.Text() }

const (
	suffix    = ".json"
	keptExits = 5
	maxNote   = 8 << 20
)

func (d *Driver) file(id string) string { return filepath.Join(d.config.Dir, id+suffix) }

// read is nil when there is no note.
func (d *Driver) read(id string) (*note, error) {
	data, err := os.ReadFile(d.file(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := &note{}
	if err := json.Unmarshal(data, n); err != nil {
		return nil, fmt.Errorf("read %s: %w", d.file(id), err)
	}
	return n, nil
}

// write keeps a note whole or not at all, also when the machine stops at once afterwards: the hook will hear of its key.
func (d *Driver) write(n *note) error {
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	name := d.file(n.Spec.ID)
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), name)
}

func (d *Driver) forget(id string) error { return os.Remove(d.file(id)) }

// notes are all of them, by id.
func (d *Driver) notes() (map[string]*note, error) {
	entries, err := os.ReadDir(d.config.Dir)
	if err != nil {
		return nil, err
	}
	out := map[string]*note{}
	var errs []error
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		n, err := d.read(id)
		if err != nil {
			errs = append(errs, err)
		} else if n != nil {
			out[id] = n
		}
	}
	return out, errors.Join(errs...)
}
