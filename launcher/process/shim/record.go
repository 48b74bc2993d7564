package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/launcher"
	"github.com/weir-lb/weir/launcher/process/cgroup"
)

// Record is what a shim knows of its instance.
type Record struct {
	Sequence uint64            `json:"sequence"`
	Service  string            `json:"service,omitempty"`
	Boot     string            `json:"boot"` // of the machine: process ids mean nothing in another
	Shim     Process           `json:"shim"`
	Instance Process           `json:"instance"`
	Group    cgroup.Group      `json:"group"`
	State    launcher.State    `json:"state"`
	Started  time.Time         `json:"started"`
	Starts   int               `json:"starts"`
	Exits    []launcher.Exit   `json:"exits,omitempty"`
	Output   []string          `json:"output,omitempty"` // the last lines, once it has ended
	Problems []cluster.Problem `json:"problems,omitempty"`
}

// Starting is the state of a record that is written before an instance is forked: whether there is one it does not say, and all
// else is from the start before.
const Starting launcher.State = "starting"

const (
	keptExits = 5
	slotSize  = 32 << 10 // a record is at most half of it
)

// slots are two files of a fixed size that are written by turns: the newer whole one counts. They have their blocks from
// the beginning, so that a full disk cannot keep a shim from saying how its instance ended.
type slots struct {
	files [2]*os.File
	last  uint64
}

// openSlots makes or opens the two files and returns the newest record in them.
func openSlots(dir string) (*slots, Record, error) {
	s := &slots{}
	for i := range s.files {
		name := filepath.Join(dir, slotName(i))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return nil, Record{}, err
		}
		s.files[i] = f
		if err := unix.Fallocate(int(f.Fd()), 0, 0, slotSize); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return nil, Record{}, fmt.Errorf("reserve %d bytes for %s: %w", slotSize, name, err)
		}
	}
	r, err := ReadRecord(dir)
	if errors.Is(err, errNoRecord) {
		err = nil
	}
	s.last = r.Sequence
	return s, r, err
}

func slotName(i int) string { return fmt.Sprintf("record.%d", i) }

// save writes the record over the older one.
func (s *slots) save(r Record) error {
	r.Sequence = s.last + 1
	text, err := encodeSlot(r)
	if err != nil {
		return err
	}
	if _, err := s.files[r.Sequence%2].WriteAt(text, 0); err != nil {
		return err
	}
	s.last = r.Sequence
	return nil
}

// WriteRecord adds a record to a directory whose shim is gone.
func WriteRecord(dir string, r Record) error {
	s, _, err := openSlots(dir)
	if err != nil {
		return err
	}
	return errors.Join(s.save(r), s.files[0].Close(), s.files[1].Close())
}

// encodeSlot is a line with checksum and length, the record as JSON, and line ends up to the size of the slot.
func encodeSlot(r Record) ([]byte, error) {
	data, err := json.Marshal(r)
	for len(data) > slotSize/2 && len(r.Output) > 0 { // bytes that JSON has to escape
		r.Output = r.Output[1:]
		data, err = json.Marshal(r)
	}
	if err != nil || len(data) > slotSize/2 {
		return nil, errors.Join(err, fmt.Errorf("a record of %d bytes", len(data)))
	}
	slot := fmt.Appendf(make([]byte, 0, slotSize), "%08x %d\n%s", crc32.ChecksumIEEE(data), len(data), data)
	for len(slot) < slotSize {
		slot = append(slot, '\n')
	}
	return slot, nil
}

func decodeSlot(slot []byte) (Record, bool) {
	var sum uint32
	var length int
	var r Record
	if n, err := fmt.Sscanf(string(slot[:min(len(slot), 32)]), "%08x %d\n", &sum, &length); n != 2 || err != nil || length < 0 || length > slotSize {
		return r, false
	}
	for i, c := range slot {
		if c == '\n' {
			slot = slot[i+1:]
			break
		}
	}
	if len(slot) < length || crc32.ChecksumIEEE(slot[:length]) != sum {
		return r, false
	}
	return r, json.Unmarshal(slot[:length], &r) == nil
}

var errNoRecord = errors.New("there is no record")

// IsNoRecord says whether ReadRecord found that no shim has written yet.
func IsNoRecord(err error) bool { return errors.Is(err, errNoRecord) }

// ReadRecord is the newest record of a directory.
func ReadRecord(dir string) (Record, error) {
	var newest Record
	found := false
	for i := range 2 {
		f, err := os.OpenFile(filepath.Join(dir, slotName(i)), os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return Record{}, err
		}
		slot, err := readAtMost(f, slotSize)
		f.Close()
		if err != nil {
			return Record{}, err
		}
		if r, ok := decodeSlot(slot); ok && (!found || r.Sequence > newest.Sequence) {
			newest, found = r, true
		}
	}
	if !found {
		return Record{}, fmt.Errorf("%s: %w", dir, errNoRecord)
	}
	return newest, nil
}

func readAtMost(r io.Reader, most int64) ([]byte, error) { return io.ReadAll(io.LimitReader(r, most)) }
