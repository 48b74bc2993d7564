package check

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weir-lb/weir/cluster"
)

// unescape takes back what was escaped for the quotation marks around it, so that a line of a line is the same.
var unescape = strings.NewReplacer(`\\`, `\`, `\"`, `"`)

// line makes one printable line of at most cluster.MaxOutput bytes of what an instance said: white space becomes a blank;
// control characters, bidirectional marks and what is no UTF-8 are escaped.
func line(text string) string {
	const cut = "..."
	long := len(text) > 4*cluster.MaxOutput // of which nothing would be left after the escaping anyway
	if long {
		text = text[:4*cluster.MaxOutput]
	}
	quoted := strconv.QuoteToGraphic(strings.Join(strings.Fields(text), " "))
	out := unescape.Replace(quoted[1 : len(quoted)-1])
	if !long && len(out) <= cluster.MaxOutput {
		return out
	}
	n := min(len(out), cluster.MaxOutput-len(cut))
	for n > 0 && n < len(out) && !utf8.RuneStart(out[n]) {
		n--
	}
	return out[:n] + cut
}
