// Package plain makes what somebody else wrote fit to be kept, logged and shown: one line that a terminal only prints.
package plain

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cut stands at the end of what was too long.
const cut = "..."

// Line makes one line of at most so many bytes of a text: each white space becomes a blank; control characters,
// bidirectional marks and what is no UTF-8 are escaped as Go does. Line of a Line is the same.
func Line(text string, most int) string {
	var b strings.Builder
	b.Grow(max(0, min(len(text), most)))
	fits := 0 // of what is there, before the mark of a cut
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		piece := text[:size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = fmt.Sprintf(`\x%02x`, text[0])
		case unicode.IsSpace(r):
			piece = " "
		case !unicode.IsGraphic(r):
			piece = strings.Trim(strconv.QuoteRune(r), "'")
		}
		if b.Len()+len(piece) > most {
			return b.String()[:fits] + cut[:max(0, min(len(cut), most))]
		}
		b.WriteString(piece)
		if b.Len() <= most-len(cut) {
			fits = b.Len()
		}
		text = text[size:]
	}
	return b.String()
}

// Words is a Line in which white space, line breaks among it, is one blank between two words.
func Words(text string, most int) string { return Line(strings.Join(strings.Fields(text), " "), most) }
