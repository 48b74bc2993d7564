package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func (m Mounts) limitMemory(g Group, bytes uint64) error {
	if bytes == 0 {
		return nil
	}
	text := strconv.FormatUint(bytes, 10)
	if dir := g.Legacy["memory"]; dir != "" {
		if err := write(filepath.Join(dir, "memory.limit_in_bytes"), text); err != nil {
			return fmt.Errorf("memory is not limited: %w", err)
		}
		// Without it an instance swaps instead; a kernel without swap accounting has no such file.
		_ = write(filepath.Join(dir, "memory.memsw.limit_in_bytes"), text)
		return nil
	}
	if err := m.enable(g, "memory"); err != nil {
		return fmt.Errorf("memory is not limited: %w", err)
	}
	if err := write(filepath.Join(g.Unified, "memory.max"), text); err != nil {
		return fmt.Errorf("memory is not limited: %w", err)
	}
	_ = write(filepath.Join(g.Unified, "memory.swap.max"), "0")
	return nil
}

// period over which a quota of processor time is counted, in microseconds: the kernel's own default.
const period = 100_000

func (m Mounts) limitCPU(g Group, processors float64) error {
	if processors == 0 {
		return nil
	}
	quota := strconv.Itoa(max(1000, int(processors*period))) // the kernel takes no less than 1 ms
	if dir := g.Legacy["cpu"]; dir != "" {
		err := errors.Join(write(filepath.Join(dir, "cpu.cfs_period_us"), strconv.Itoa(period)), write(filepath.Join(dir, "cpu.cfs_quota_us"), quota))
		if err != nil {
			return fmt.Errorf("processor time is not limited: %w", err)
		}
		return nil
	}
	err := m.enable(g, "cpu")
	if err == nil {
		err = write(filepath.Join(g.Unified, "cpu.max"), quota+" "+strconv.Itoa(period))
	}
	if err != nil {
		return fmt.Errorf("processor time is not limited: %w", err)
	}
	return nil
}

// enable turns a controller of version 2 on in all groups above.
func (m Mounts) enable(g Group, controller string) error {
	if g.Unified == "" {
		return fmt.Errorf("this host has no control groups with %q", controller)
	}
	offered, err := os.ReadFile(filepath.Join(m.Unified, "cgroup.controllers"))
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(string(offered)), controller) {
		return fmt.Errorf("the control groups of this host do not offer %q", controller)
	}
	way, err := filepath.Rel(m.Unified, filepath.Dir(g.Unified))
	if err != nil {
		return err
	}
	dir := m.Unified
	for _, step := range append([]string{"."}, strings.Split(way, "/")...) {
		dir = filepath.Join(dir, step)
		if err := write(filepath.Join(dir, "cgroup.subtree_control"), "+"+controller); err != nil {
			return err
		}
	}
	return nil
}
