package check

import (
	"net/netip"
	"strings"
)

// ID names an instance in the whole cluster.
type ID struct{ Service, Instance string }

func (i ID) String() string { return i.Service + "/" + i.Instance }

// Compare orders by service, then instance.
func (i ID) Compare(j ID) int {
	if c := strings.Compare(i.Service, j.Service); c != 0 {
		return c
	}
	return strings.Compare(i.Instance, j.Instance)
}

// Result is what checks measured of one instance, for its node's load report.
type Result struct {
	LatencyMS   float64        // mean of the successful checks of the last interval; 0: not known
	Checks      uint64         // counter: checks that were made
	Connections uint64         // counter: those that connected; the kernel counts them among the new connections of where they went
	To          netip.AddrPort // where they go; invalid: its check does not connect
	Failed      uint64         // counter: checks that failed
	FailedInRow uint32         // of these, since the last success
}
