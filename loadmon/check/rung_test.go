package check

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/cluster"
)

var kinds = map[rune]Kind{'?': Unknown, '+': Good, '-': Bad, '!': Refused}

// Each letter is an outcome, and below it stands the verdict after it: w well, f failing, d dead.
func TestRung(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name           string
		rise, fall     int
		grace          time.Duration // one outcome comes each second
		outcomes, want string
	}{
		{"fall", 2, 3, 0, "+--+---", "wwwwwwf"},
		{"rise", 2, 3, 0, "---+-++", "wwffffw"},
		{"refused is dead at once", 2, 3, 0, "+!", "wd"},
		{"dead comes back after rise", 2, 3, 0, "!+++", "ddww"},
		{"a success between refusals does not count", 2, 3, 0, "!+!++", "ddddw"},
		{"failing that is refused is dead", 2, 2, 0, "--!", "wfd"},
		{"dead that answers badly becomes failing after fall", 2, 3, 0, "!---", "dddf"},
		{"dead that answers badly once stays dead", 2, 3, 0, "!--!--!", "ddddddd"},
		{"unknown keeps the last state", 1, 1, 0, "?-??+??!??", "wfffwwwddd"},
		{"unknown does not end a row", 2, 3, 0, "-?-?-", "wwwwf"},
		{"rise and fall of one", 1, 1, 0, "-+-+!+", "fwfwdw"},
		{"failures in the grace do not count", 2, 2, 5 * time.Second, "-!-------", "wwwwwwfff"},
		{"the first success ends the grace", 2, 2, time.Hour, "-!+--", "wwwwf"},
		{"a success after the grace", 2, 2, 2 * time.Second, "!!!!++", "wwdddw"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, r, got := &cluster.Check{Rise: test.rise, Fall: test.fall}, rung{grace: test.grace}, ""
			for i, o := range test.outcomes {
				r.step(c, Outcome{Kind: kinds[o], Reason: "why"}, time.Duration(i)*time.Second)
				got += letter(r.verdict)
				require.Equal(t, r.verdict != "", r.why.Reason != "", "a reason exactly where there is a verdict")
			}
			require.Equal(t, test.want, got, "after %s", test.outcomes)
		})
	}
}

func letter(v cluster.Verdict) string {
	if v == "" {
		return "w"
	}
	return string(v[0])
}

// Whatever comes: nothing is out before fall failures or a refusal, nothing is back before rise successes.
func TestRungProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := &cluster.Check{Rise: rapid.IntRange(1, 5).Draw(t, "rise"), Fall: rapid.IntRange(1, 5).Draw(t, "fall")}
		r, good, bad := rung{}, 0, 0
		for i, kind := range rapid.SliceOf(rapid.SampledFrom([]Kind{Unknown, Good, Bad, Refused})).Draw(t, "outcomes") {
			before := r.verdict
			switch kind {
			case Good:
				good, bad = good+1, 0
			case Bad:
				good, bad = 0, bad+1
			case Refused:
				good, bad = 0, 0
			}
			r.step(c, Outcome{Kind: kind}, time.Duration(i))
			switch {
			case kind == Refused && r.verdict != cluster.Dead:
				t.Fatalf("refused, but %q", r.verdict)
			case kind == Unknown && r.verdict != before:
				t.Fatalf("%q becomes %q by nothing", before, r.verdict)
			case before == "" && r.verdict == cluster.Failing && bad < c.Fall:
				t.Fatalf("failing after %d of %d", bad, c.Fall)
			case before != "" && r.verdict == "" && good < c.Rise:
				t.Fatalf("well after %d of %d", good, c.Rise)
			case r.verdict != "" && good >= c.Rise:
				t.Fatalf("%q after %d successes", r.verdict, good)
			case r.verdict == "" && bad >= c.Fall && kind == Bad:
				t.Fatalf("well after %d failures", bad)
			}
		}
	})
}
