package check

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "",
		" a\r\n\tb  c ":           "a b c",
		"\x1b[31mred\x00":         `\x1b[31mred\x00`,
		"\xff\xfe":                `\xff\xfe`,
		`say "hi"`:                `say "hi"`,
		"\u202eevil":              `\u202eevil`,
		"grün 世界":                 "grün 世界",
		strings.Repeat("x", 256):  strings.Repeat("x", 256),
		strings.Repeat("x", 257):  strings.Repeat("x", 253) + "...",
		strings.Repeat("世", 1000): strings.Repeat("世", 84) + "...",
	} {
		require.Equal(t, want, line(text))
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb")
	f.Add(strings.Repeat("\x00", 1000))
	f.Fuzz(func(t *testing.T, text string) {
		got := line(text)
		if len(got) > cluster.MaxOutput || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !strconv.IsGraphic(r) }) {
			t.Fatalf("%q becomes %q", text, got)
		}
	})
}
