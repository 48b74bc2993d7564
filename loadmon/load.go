package loadmon

import "fmt"

// Load is what a node's monitor knows of one instance on that node. Counters rise while the monitor runs, so that a lost
// report loses no connection, and the same report read twice counts once. What is 0 or left out and not a counter of
// connections is not known.
type Load struct {
	Service     string  `json:"service"`
	Instance    string  `json:"instance"`
	Connections uint64  `json:"connections"`             // counter: new connections
	Failed      uint64  `json:"failed,omitempty"`        // counter: of these, refused or never answered
	FailedInRow uint32  `json:"failed_in_row,omitempty"` // failures since the last success
	Active      uint64  `json:"active"`                  // connections that are open now
	Busy        float64 `json:"busy"`                    // 0..1 over the last interval: usage of its CPUs and pressure
	LatencyMS   float64 `json:"latency_ms,omitempty"`    // of its check over the last interval

	CPUSeconds       float64 `json:"cpu_seconds,omitempty"` // counter: of its control group, or of its process
	Pressure         float64 `json:"pressure,omitempty"`    // 0..1: part of the last interval in which it wanted to run and could not
	QuotaCPUs        float64 `json:"quota_cpus,omitempty"`  // processors that it may use
	MemoryBytes      uint64  `json:"memory_bytes,omitempty"`
	MemoryLimitBytes uint64  `json:"memory_limit_bytes,omitempty"`
	OpenFiles        uint64  `json:"open_files,omitempty"`
	OpenFilesLimit   uint64  `json:"open_files_limit,omitempty"`
	BytesIn          uint64  `json:"bytes_in,omitempty"`  // counter, where the kernel counts the bytes of connections: from clients
	BytesOut         uint64  `json:"bytes_out,omitempty"` // counter: to clients

	Utilization *float64 `json:"utilization,omitempty"` // 0..1, by the application itself
	Wish        *float64 `json:"wish,omitempty"`        // the part of its weight that the application wants, 0..MaxWish: 0.75 for "75%"
}

// implausible says why figures cannot be true whatever came before, or "".
func (l Load) implausible() string {
	switch {
	case !(l.Busy >= 0 && l.Busy <= maxPart): // also NaN
		return fmt.Sprintf("busy %g is outside 0..1", l.Busy)
	case !(l.LatencyMS >= 0 && l.LatencyMS <= maxMS):
		return fmt.Sprintf("a latency of %g ms cannot be", l.LatencyMS)
	case l.Active > maxActive:
		return fmt.Sprintf("%d open connections are more than an instance can have", l.Active)
	case !(l.CPUSeconds >= 0 && l.CPUSeconds <= maxCPUSeconds):
		return fmt.Sprintf("%g s of CPU cannot be", l.CPUSeconds)
	case !(l.Pressure >= 0 && l.Pressure <= maxPart):
		return fmt.Sprintf("pressure %g is outside 0..1", l.Pressure)
	case !(l.QuotaCPUs >= 0 && l.QuotaCPUs <= maxProcessors):
		return fmt.Sprintf("a quota of %g processors cannot be", l.QuotaCPUs)
	case l.MemoryBytes > maxBytes || l.MemoryLimitBytes > maxBytes:
		return fmt.Sprintf("%d of %d bytes of memory cannot be", l.MemoryBytes, l.MemoryLimitBytes)
	case l.OpenFiles > maxFiles || l.OpenFilesLimit > maxFiles:
		return fmt.Sprintf("%d of %d open files cannot be", l.OpenFiles, l.OpenFilesLimit)
	case l.Utilization != nil && !(*l.Utilization >= 0 && *l.Utilization <= 1):
		return fmt.Sprintf("utilization %g is outside 0..1", *l.Utilization)
	case l.Wish != nil && !(*l.Wish >= 0 && *l.Wish <= MaxWish):
		return fmt.Sprintf("a wish for %g of its weight is outside 0..%d", *l.Wish, MaxWish)
	}
	return ""
}
