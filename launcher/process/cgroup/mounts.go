package cgroup

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// controllers of version 1 that are used, where they are mounted.
var controllers = []string{"memory", "cpu", "freezer"}

// Mounts are the control group file systems of a host. The zero value is a host without any.
type Mounts struct {
	Unified string            // mount point of version 2; "": none
	Legacy  map[string]string // mount points of version 1, by controller
}

// Find reads the mounts of this process.
func Find() (Mounts, error) { return find("/proc/self/mounts") }

func find(file string) (Mounts, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Mounts{}, fmt.Errorf("find the control groups: %w", err)
	}
	m := Mounts{Legacy: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		switch fields[2] {
		case "cgroup2":
			if m.Unified == "" {
				m.Unified = fields[1]
			}
		case "cgroup":
			for option := range strings.SplitSeq(fields[3], ",") {
				if _, known := m.Legacy[option]; !known && slices.Contains(controllers, option) {
					m.Legacy[option] = fields[1]
				}
			}
		}
	}
	return m, nil
}
