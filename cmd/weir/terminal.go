package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/top"
)

// screen is a terminal that shows one picture after the other, each in the place of the one before, and takes keys.
type screen struct {
	in, out *os.File
	mu      sync.Mutex // guards what follows, which keys change
	order   top.Order
	parts   top.Parts
}

// terminal is the screen behind a command's input and output; nil where they are no terminal.
func terminal(in io.Reader, out io.Writer) *screen {
	from, ok := in.(*os.File)
	to := terminalOf(out)
	if !ok || to == nil || !interactive(from) {
		return nil
	}
	return &screen{in: from, out: to}
}

// terminalOf is the terminal behind a command's output, where escapes are obeyed; nil where it is none. Who writes there makes
// pictures of printable characters alone.
func terminalOf(out io.Writer) *os.File {
	if safe, ok := out.(*safeWriter); ok {
		out = safe.w
	}
	if to, ok := out.(*os.File); ok && interactive(to) {
		return to
	}
	return nil
}

// sizeOf is how large a terminal is now.
func sizeOf(f *os.File) (width, height int) {
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
		return int(size.Col), int(size.Row)
	}
	return 80, 24
}

func interactive(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// What a terminal is told. Its other screen keeps what the shell had written before.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	goHome      = "\x1b[H"
	endOfLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// run shows pictures until the context ends or somebody presses q, and leaves the terminal as it was.
func (s *screen) run(ctx context.Context, w *observer, every time.Duration, order top.Order) (err error) {
	s.order = order
	restore, err := s.rawKeys()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	if _, err := io.WriteString(s.out, enterScreen); err != nil {
		return fmt.Errorf("print the picture: %w", err)
	}
	defer func() { _, _ = io.WriteString(s.out, leaveScreen) }()

	ctx, quit := context.WithCancel(ctx)
	pressed := make(chan struct{}, 1)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer quit()
	reading.Go(func() {
		defer quit()
		s.keys(ctx, pressed)
	})
	return w.run(ctx, every, pressed, func() error { return s.draw(w.frame()) })
}

// rawKeys has keys arrive one by one and unseen. Ctrl-C stays what it is.
func (s *screen) rawKeys() (restore func() error, err error) {
	before, err := unix.IoctlGetTermios(int(s.in.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the terminal's mode: %w", err)
	}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETS, &raw); err != nil {
		return nil, fmt.Errorf("set the terminal's mode: %w", err)
	}
	return func() error { return unix.IoctlSetTermios(int(s.in.Fd()), unix.TCSETS, before) }, nil
}

// keyPatience is how long a read may be late to notice that nobody waits for keys any more.
const keyPatience = 200 * time.Millisecond

// keys obeys keys until q, the terminal's end, or the context's.
func (s *screen) keys(ctx context.Context, pressed chan<- struct{}) {
	buffer := make([]byte, 16)
	for ctx.Err() == nil {
		ready := []unix.PollFd{{Fd: int32(s.in.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int(keyPatience.Milliseconds()))
		if n == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return
		}
		if n, err = unix.Read(int(s.in.Fd()), buffer); err != nil || n == 0 {
			return
		}
		if !s.obey(buffer[:n]) {
			return
		}
		select {
		case pressed <- struct{}{}:
		default:
		}
	}
}

// obey says whether to go on.
func (s *screen) obey(keys []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range bytes.ToLower(keys) {
		switch key {
		case 'q':
			return false
		case 's':
			s.order = s.order.Next()
		case 'n':
			s.parts = s.parts.Next()
		}
	}
	return true
}

// draw overwrites the picture before, so that nothing flickers.
func (s *screen) draw(f top.Frame) error {
	s.mu.Lock()
	look := top.Screen{Order: s.order, Parts: s.parts}
	s.mu.Unlock()
	look.Width, look.Height = sizeOf(s.out)
	keys := fmt.Sprintf("q quit  s order: %s  n nodes, services", look.Order)
	look.Height = max(1, look.Height-1)
	text := strings.ReplaceAll(f.Text(look), "\n", endOfLine+"\n") // the terminal goes to the beginning of the line by itself
	_, err := io.WriteString(s.out, goHome+text+endOfLine+"\n"+top.Cut(keys, look.Width)+endOfLine+clearBelow)
	return err
}
