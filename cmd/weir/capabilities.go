package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// seesProcesses says whether this process may look into those of other users: which sockets they hold, and what they use.
func seesProcesses() (bool, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false, fmt.Errorf("read own capabilities: %w", err)
	}
	return mayLook(string(text))
}

// mayLook reads the effective capabilities in /proc/PID/status.
func mayLook(status string) (bool, error) {
	_, rest, found := strings.Cut(status, "\nCapEff:\t")
	hex, _, _ := strings.Cut(rest, "\n")
	effective, err := strconv.ParseUint(hex, 16, 64)
	if !found || err != nil {
		return false, fmt.Errorf("read own capabilities: the kernel tells none")
	}
	const needed = 1<<unix.CAP_SYS_PTRACE | 1<<unix.CAP_DAC_READ_SEARCH
	return effective&needed == needed, nil
}
