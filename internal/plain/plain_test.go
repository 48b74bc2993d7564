package plain_test

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/plain"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                        "",
		"  indented\tby one\n":    "  indented by one ",
		"\x1b[31mred\x00":         `\x1b[31mred\x00`,
		"\xff\xfe":                `\xff\xfe`,
		"\ufffd":                  "\ufffd",
		`say "hi" \n it's`:        `say "hi" \n it's`,
		"\u202eevil":              `\u202eevil`,
		"a\u2028b\u0085c":         "a b c",
		"grün 世界":                 "grün 世界",
		strings.Repeat("x", 20):   strings.Repeat("x", 20),
		strings.Repeat("x", 21):   strings.Repeat("x", 17) + "...",
		strings.Repeat("世", 7):    strings.Repeat("世", 5) + "...",
		strings.Repeat("\x00", 6): strings.Repeat(`\x00`, 4) + "...",
	} {
		require.Equal(t, want, plain.Line(text, 20))
	}
	require.Equal(t, "..", plain.Line("long", 2))
	require.Empty(t, plain.Line("long", 0))
	require.Equal(t, "a b c", plain.Words(" a\r\n\tb  c ", 20))
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb", 10)
	f.Add(strings.Repeat("\x00", 100), 33)
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = max(0, most%1000)
		got := plain.Line(text, most)
		if len(got) > most || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !strconv.IsGraphic(r) }) {
			t.Fatalf("%q becomes %q", text, got)
		}
		require.Equal(t, got, plain.Line(got, most))
	})
}
