package monitor

import "strings"

// printable is what others sent, fit to be shown on one line.
func printable(text []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, strings.TrimSpace(string(text[:min(len(text), maxRefusal)])))
}
