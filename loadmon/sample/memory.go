package sample

import (
	"os"
	"strconv"
	"strings"
)

// unlimited is how much memory nobody has: version 1 writes the largest number for "no limit".
const unlimited = 1 << 50

// unifiedMemory is the working set, as Kubernetes takes it: what the group uses without the pages of files that nobody has
// used lately. With those, an instance that reads files would seem to be full always.
func (c *Cgroups) unifiedMemory(groups map[string]string, all limits, u *Usage) bool {
	dir, ok := c.own(groups, "")
	if !ok {
		return false
	}
	used, err := c.files.number(dir + "/memory.current")
	if err != nil {
		return false // version 2 does not have the controller, as on a hybrid host
	}
	idle, _ := c.files.value(dir+"/memory.stat", "inactive_file") // not there: all of it is used
	u.Memory = uint64(max(0, used-idle))
	u.MemoryLimit = all.memory
	return true
}

func (c *Cgroups) legacyMemory(groups map[string]string, u *Usage) bool {
	dir, ok := c.own(groups, "memory")
	if !ok {
		return false
	}
	used, err := c.files.number(dir + "/memory.usage_in_bytes")
	if err != nil {
		return false
	}
	stat, _ := c.files.read(dir + "/memory.stat")
	idle, _ := behind(stat, "total_inactive_file") // not there: all of it is used
	u.Memory = uint64(max(0, used-idle))
	if limit, err := behind(stat, "hierarchical_memory_limit"); err == nil {
		u.MemoryLimit = limited(limit)
	}
	return true
}

// limited is a limit of memory; 0: it is none.
func limited(limit int64) uint64 {
	if limit <= 0 || limit >= unlimited {
		return 0
	}
	return uint64(limit)
}

// resident is the memory of some processes: all of the first, and what the others do not share with anybody.
func (c *Cgroups) resident(pids []int) (bytes uint64) {
	page := uint64(os.Getpagesize())
	for i, pid := range pids {
		text, err := c.files.read(c.process(pid, "statm"))
		fields := strings.Fields(string(text))
		if err != nil || len(fields) < 3 {
			continue // it ended meanwhile
		}
		resident, _ := strconv.ParseUint(fields[1], 10, 64)
		shared, _ := strconv.ParseUint(fields[2], 10, 64)
		if i > 0 {
			resident -= min(shared, resident)
		}
		bytes += resident * page
	}
	return bytes
}
