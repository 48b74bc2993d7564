package sample

import (
	"strconv"

	"github.com/weir-lb/weir/cluster"
)

// printable makes one line of printable ASCII, of at most cluster.MaxOutput bytes, of what somebody else sent.
func printable(text string) string {
	text = text[:min(len(text), cluster.MaxOutput)]
	quoted := strconv.QuoteToASCII(text)
	quoted = quoted[1 : len(quoted)-1]
	return quoted[:min(len(quoted), cluster.MaxOutput)]
}
