package main

import (
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// safeWriter escapes what a terminal would obey or hide: names and reasons come from etcd, and whoever wrote them must
// not be able to paint over what an operator reads. The escapes are those of JSON, so that JSON stays JSON.
type safeWriter struct {
	w    io.Writer
	mu   sync.Mutex // logs and talk come from several goroutines
	part []byte     // the beginning of a character whose rest has not been written yet
}

func (s *safeWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := append(s.part, p...)
	s.part = nil
	var out []byte
	for len(text) > 0 {
		if !utf8.FullRune(text) {
			s.part = append([]byte(nil), text...)
			break
		}
		r, size := utf8.DecodeRune(text)
		if harmless(r) && (r != utf8.RuneError || size > 1) {
			out = append(out, text[:size]...)
		} else {
			out = append(out, escape(r)...)
		}
		text = text[size:]
	}
	if _, err := s.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func harmless(r rune) bool { return r == '\n' || r == '\t' || unicode.IsGraphic(r) }

func escape(r rune) string {
	if r > 0xFFFF {
		high, low := utf16.EncodeRune(r)
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}
