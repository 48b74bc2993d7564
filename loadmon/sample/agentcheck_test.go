package sample

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/loadmon"
)

func TestParseAgent(t *testing.T) {
	t.Parallel()
	wish := func(v float64) *float64 { return &v }
	for text, want := range map[string]spoken{
		"75%\n":                      {wish: wish(0.75)},
		"up 75%\n":                   {wish: wish(0.75), health: Up},
		"0%\r\n":                     {wish: wish(0)},
		"100%\n50%\n":                {wish: wish(1)}, // the first line alone
		"10% 20%\n":                  {wish: wish(0.2)},
		"99999999999999999999999%\n": {wish: wish(loadmon.MaxWish)},
		"25601%\n":                   {wish: wish(loadmon.MaxWish)},
		"DRAIN\n":                    {admin: Drain},
		"maint,ready\n":              {admin: Ready},
		"down # the disk is full \n": {health: Down, reason: "the disk is full"},
		"stopped #\tby hand\r":       {health: Stopped, reason: "by hand"},
		"fail #a#b\n":                {health: Fail, reason: "a#b"},
		"Ready,\tUp , 30% maxconn:30 # back\njunk": {wish: wish(0.3), admin: Ready, health: Up, reason: "back"},
		"maxconn:12\n":             {},
		"\n":                       {},
		"# only a reason\n":        {reason: "only a reason"},
		"up#no reason, one word\n": {unknown: `the word "up#no" of its answer is not known`},
		"50 up\n":                  {health: Up, unknown: `the word "50" of its answer is not known`},
		"7.5%\n":                   {unknown: `the word "7.5%" of its answer is not known`},
		"-5% %\n":                  {unknown: `the word "-5%" of its answer is not known`},
		"\x00\xff\n":               {unknown: `the word "\\x00\\xff" of its answer is not known`},
	} {
		got, err := parseAgent(text)
		require.NoError(t, err, "%q", text)
		if strings.HasPrefix(text, "up#") {
			got.unknown = strings.SplitAfter(got.unknown, "known")[0]
		}
		require.Equal(t, want, got, "%q", text)
	}
	for _, text := range []string{"", "75%", "up # no end"} {
		_, err := parseAgent(text)
		require.ErrorIs(t, err, errUnfinished, "%q", text)
	}
	s, err := parseAgent("down maint # why\n")
	require.NoError(t, err)
	require.Equal(t, []Word{{Maint, "why"}, {Down, "why"}}, s.words())
}

// Whatever an agent sends, what is kept of it is bounded and can be printed.
func FuzzParseAgent(f *testing.F) {
	for _, text := range []string{"75%\n", "up 75% # fine\r\n", "drain,maxconn:3\n", "\x1b[2J% #\xe2\x80\xae\n", "grün\n", strings.Repeat("9", 500) + "%\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseAgent(text)
		if err != nil {
			return
		}
		if s.wish != nil && !(*s.wish >= 0 && *s.wish <= loadmon.MaxWish) {
			t.Errorf("%q: a wish of %g", text, *s.wish)
		}
		for _, said := range []string{s.reason, s.unknown} {
			if strings.ContainsFunc(said, func(r rune) bool { return !unicode.IsGraphic(r) }) || len(said) > 2*cluster.MaxOutput+50 {
				t.Errorf("%q: %q", text, said)
			}
		}
		for _, w := range s.words() {
			require.NotEmpty(t, w.State)
		}
	})
}
