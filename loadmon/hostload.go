package loadmon

import (
	"encoding/json"
	"fmt"

	"github.com/weir-lb/weir/internal/plain"
)

// HostLoad is what a node's monitor knows of the node itself. What is 0 is not known.
type HostLoad struct {
	Processors       int     `json:"processors,omitempty"`
	CPU              float64 `json:"cpu"`                // 0..1 over the last interval, of all processors
	Pressure         float64 `json:"pressure,omitempty"` // 0..1: part of the last interval in which a process wanted to run and could not
	MemoryBytes      uint64  `json:"memory_bytes,omitempty"`
	MemoryTotalBytes uint64  `json:"memory_total_bytes,omitempty"`
	Conntrack        uint64  `json:"conntrack,omitempty"` // tracked connections
	ConntrackMax     uint64  `json:"conntrack_max,omitempty"`
	BytesIn          uint64  `json:"bytes_in,omitempty"`  // counter: of its network links, loopback left out
	BytesOut         uint64  `json:"bytes_out,omitempty"` // counter
}

// readHost reads a node's own figures. Those that cannot be true harm nothing else.
func readHost(text json.RawMessage, c *complaints) HostLoad {
	var h HostLoad
	if err := json.Unmarshal(text, &h); err != nil {
		c.add("host", "it cannot be read: "+plain.JSON(text, err), updateMonitor)
		return HostLoad{}
	}
	if why := h.implausible(); why != "" {
		c.add("host", why, updateMonitor)
		return HostLoad{}
	}
	return h
}

// implausible says why figures cannot be true, or "".
func (h HostLoad) implausible() string {
	switch {
	case h.Processors < 0 || h.Processors > maxProcessors:
		return fmt.Sprintf("%d processors cannot be", h.Processors)
	case !(h.CPU >= 0 && h.CPU <= maxPart): // also NaN
		return fmt.Sprintf("cpu %g is outside 0..1", h.CPU)
	case !(h.Pressure >= 0 && h.Pressure <= maxPart):
		return fmt.Sprintf("pressure %g is outside 0..1", h.Pressure)
	case h.MemoryBytes > maxBytes || h.MemoryTotalBytes > maxBytes:
		return fmt.Sprintf("%d of %d bytes of memory cannot be", h.MemoryBytes, h.MemoryTotalBytes)
	case h.Conntrack > maxFlows || h.ConntrackMax > maxFlows:
		return fmt.Sprintf("%d of %d tracked connections cannot be", h.Conntrack, h.ConntrackMax)
	}
	return ""
}
