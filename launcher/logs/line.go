package logs

import (
	"strings"
	"time"
)

// Line is one line of an instance, or a word about what follows.
type Line struct {
	Instance string    `json:"instance,omitempty"`
	At       time.Time `json:"at,omitzero"`
	Stream   string    `json:"stream,omitempty"` // stdout or stderr
	Text     string    `json:"text"`
	Part     bool      `json:"part,omitempty"` // the next one of the instance goes on with it

	Instances []string `json:"instances,omitempty"` // of the first: whose lines follow
	Live      bool     `json:"live,omitempty"`      // all that was kept has been told; what follows is new
	Note      string   `json:"note,omitempty"`      // of what is missing
}

// parse reads a line as shims keep them: TIME STREAM F|P TEXT.
func parse(text string) (l Line, ok bool) {
	parts := strings.SplitN(text, " ", 4)
	if len(parts) != 4 {
		return l, false
	}
	at, err := time.Parse(time.RFC3339Nano, parts[0])
	return Line{At: at, Stream: parts[1], Part: parts[2] == "P", Text: parts[3]}, err == nil && parts[1] != ""
}

// Source is asked for one line after the other; false: there is none now.
type Source func() (Line, bool, error)

// Merge tells the lines of all sources in the order of their times, until there is none left. A source that fails is left
// out from then on, after failed was told.
func Merge(sources []Source, tell func(Line) error, failed func(i int, err error)) error {
	heads := make([]*Line, len(sources))
	draw := func(i int) {
		heads[i] = nil
		l, ok, err := sources[i]()
		if err != nil {
			failed(i, err)
		} else if ok {
			heads[i] = &l
		}
	}
	for i := range sources {
		draw(i)
	}
	for {
		first := -1
		for i, head := range heads {
			if head != nil && (first < 0 || head.At.Before(heads[first].At)) {
				first = i
			}
		}
		if first < 0 {
			return nil
		}
		if err := tell(*heads[first]); err != nil {
			return err
		}
		draw(first)
	}
}
