package etcd

import (
	"strconv"
	"strings"
)

const maxPrinted = 300

// printable makes foreign text safe to show on a terminal and in a log: control characters, bidirectional marks and
// broken UTF-8 are escaped, and it is cut short.
func printable(s string) string {
	cut := ""
	if len(s) > maxPrinted {
		s, cut = s[:maxPrinted], "..."
	}
	quoted := strconv.QuoteToGraphic(s)
	// Quotation marks were escaped for the quotes that are taken off here.
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`) + cut
}
