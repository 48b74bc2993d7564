package launcher

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable is foreign text as it may be kept and shown: no control characters, no bytes that are not text, at most a
// number of bytes.
func Printable(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most-min(most, len("..."))], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}
