package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/internal/top"
)

// Terminal is a screen on which a picture is drawn anew in its own place.
type Terminal struct {
	Out  io.Writer                  // obeys escapes
	Size func() (width, height int) // now
}

// show tells the story: lines that stay, and, on a terminal, a picture below them that changes.
type show struct {
	out   io.Writer // lines, where there is no terminal
	t     *Terminal // nil: none
	began time.Time

	mu      sync.Mutex // one says something at a time; guards what follows
	picture []string
	drawn   int // lines of the picture that stand on the screen
}

// say prints lines that stay.
func (s *show) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.t == nil {
		fmt.Fprintln(s.out, text)
		return
	}
	var b strings.Builder
	b.WriteString(s.erased())
	for line := range strings.SplitSeq(text, "\n") {
		b.WriteString(plain.Line(line, 4096) + "\n") // the terminal wraps what is long
	}
	b.WriteString(s.redrawn())
	_, _ = io.WriteString(s.t.Out, b.String()) // a terminal that is gone is no reason not to clean up
}

// at prints one line with the time since the beginning.
func (s *show) at(when time.Time, format string, args ...any) {
	s.say("%7.1f s  %s", when.Sub(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// draw puts another picture in the place of the one before.
func (s *show) draw(lines []string) {
	if s.t == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	erased := s.erased()
	s.picture = lines
	_, _ = io.WriteString(s.t.Out, erased+s.redrawn())
}

// erased takes the picture off the screen: back to its first line, and everything below is cleared.
func (s *show) erased() string {
	if s.drawn == 0 {
		return ""
	}
	up := s.drawn
	s.drawn = 0
	return fmt.Sprintf("\x1b[%dA\r\x1b[J", up)
}

// redrawn is the picture, as much of it as there is room for: what scrolled away could not be erased.
func (s *show) redrawn() string {
	width, height := s.t.Size()
	lines := s.picture[:min(len(s.picture), max(height-1, 0))]
	s.drawn = len(lines)
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(top.Cut(line, width) + "\n")
	}
	return b.String()
}
