package sample

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/loadmon"
)

// Word is what an instance's agent says beside a percentage. It counts until another one of its kind is said.
type Word struct {
	State  State
	Reason string // one printable line; may be empty
}

// State is the sense of a Word.
type State string

// What agents say: of health, and of what they wish.
const (
	Up      State = "up"
	Down    State = "down"
	Fail    State = "fail"
	Stopped State = "stopped"

	Ready State = "ready" // ends drain and maint
	Drain State = "drain" // no new connections
	Maint State = "maint" // neither; we do not end those that there are
)

// Health says whether a state is one of health: up, down, fail or stopped.
func (s State) Health() bool { return s == Up || s == Down || s == Fail || s == Stopped }

// spoken is one answer of an agent.
type spoken struct {
	wish    *float64
	admin   State // "": nothing said
	health  State
	reason  string
	unknown string // the first word that means nothing
}

// words are what the answer says beside a percentage, in the order in which they have to be taken up.
func (s spoken) words() (out []Word) {
	for _, state := range []State{s.admin, s.health} {
		if state != "" {
			out = append(out, Word{state, s.reason})
		}
	}
	return out
}

var errUnfinished = errors.New("its answer has no end of line")

// parseAgent reads an answer of HAProxy's agent-check as HAProxy does: the first line, words between blanks, tabs or commas, of
// each kind the last one counts, then perhaps # and a reason. A word that means nothing harms only itself. A limit of
// connections is understood and not obeyed: targets have none here.
func parseAgent(text string) (spoken, error) {
	end := strings.IndexAny(text, "\r\n")
	if end < 0 {
		return spoken{}, errUnfinished
	}
	words, reason := text[:end], ""
	for i := 0; i < end; i++ { // a # begins the reason at the beginning of a word only
		if text[i] == '#' && (i == 0 || strings.ContainsRune(" \t,", rune(text[i-1]))) {
			words, reason = text[:i], text[i+1:end]
			break
		}
	}
	s := spoken{reason: plain.Line(strings.Trim(reason, " \t"), cluster.MaxOutput)}
	for word := range strings.FieldsFuncSeq(words, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		s.take(word)
	}
	return s, nil
}

func (s *spoken) take(word string) {
	switch state := State(strings.ToLower(word)); {
	case state.Health():
		s.health = state
	case state == Ready || state == Drain || state == Maint:
		s.admin = state
	case strings.HasPrefix(string(state), "maxconn:"):
	default:
		if part, ok := percentage(word); ok {
			s.wish = &part
		} else if s.unknown == "" {
			s.unknown = fmt.Sprintf("the word %q of its answer is not known", plain.Line(word, cluster.MaxOutput))
		}
	}
}

// percentage reads "75%". As in HAProxy, what is too large is the largest.
func percentage(word string) (float64, bool) {
	digits, ok := strings.CutSuffix(word, "%")
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return loadmon.MaxWish, true // digits alone can only be too many
	}
	return min(float64(n)/100, loadmon.MaxWish), true
}
