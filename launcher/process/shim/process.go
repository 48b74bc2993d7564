package shim

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Process is a process id that cannot be mistaken for its next owner.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // ticks after the boot of the machine
}

// Find is the process that has an id now.
func Find(pid int) (Process, error) {
	s, err := readStat(pid)
	return Process{pid, s.start}, err
}

// Signal sends to this very process; os.ErrProcessDone when it is gone, whoever has its id now.
func (p Process) Signal(signal unix.Signal) error {
	fd, err := p.Open()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.PidfdSendSignal(fd, signal, nil, 0)
}

// Open is a descriptor of this very process, to signal it or to wait for its end.
func (p Process) Open() (int, error) {
	if p.PID <= 0 {
		return -1, os.ErrProcessDone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, os.ErrProcessDone
	}
	if err != nil {
		return -1, err
	}
	// From here on the descriptor stays with one process; whether it is ours its start says.
	if s, err := readStat(p.PID); err != nil || s.start != p.Start || s.state == 'Z' {
		unix.Close(fd)
		return -1, os.ErrProcessDone
	}
	return fd, nil
}

// Alive says whether it still runs.
func (p Process) Alive() bool {
	s, err := readStat(p.PID)
	return err == nil && p.PID > 0 && s.start == p.Start && s.state != 'Z' && s.state != 'X'
}

// BootID names this boot of the machine.
func BootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

type stat struct {
	state   byte
	parent  int
	session int
	start   uint64
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(text)
}

// parseStat skips the name, which is in parentheses and may hold anything.
func parseStat(text []byte) (stat, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return stat{}, fmt.Errorf("a stat with %d fields", len(fields))
	}
	s := stat{state: fields[0][0]}
	var errs [3]error
	s.parent, errs[0] = strconv.Atoi(string(fields[1]))
	s.session, errs[1] = strconv.Atoi(string(fields[3]))
	s.start, errs[2] = strconv.ParseUint(string(fields[19]), 10, 64)
	return s, errors.Join(errs[:]...)
}

// pids are all processes that can be seen.
func pids() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	out := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			out = append(out, pid)
		}
	}
	return out, err
}
