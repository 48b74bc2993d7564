package logs

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/weir-lb/weir/launcher/process/shim"
)

const (
	block   = 64 << 10 // read at a time
	longest = 32 << 10 // of a line; shims cut them before
)

// missing is told where files may have gone before they were read.
const missing = "lines may be missing here: it writes faster than they are read"

// tape is what one instance wrote: a few files, of which the newest grows until it is full and becomes the next older one.
type tape struct {
	id    string
	since time.Time
	dir   *os.Root // stays the same directory when it is moved

	reading *os.File
	lines   *bufio.Reader
	part    []byte     // the beginning of a line whose end is not there yet
	full    bool       // nothing is added to it any more
	next    []*os.File // newer ones, the oldest of them first
	offset  int64      // of what was read of the one that is read
}

// openTape opens what is kept in a directory, at the last so many lines; -1: at the beginning.
func openTape(id, dir string, tail int, since time.Time) (*tape, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &tape{id: id, since: since, dir: root}
	files, err := t.files(nil)
	if err == nil {
		t.next = files
		err = t.rewind(tail)
	}
	if err == nil {
		t.skip()
		err = t.turn()
	}
	if err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *tape) close() error {
	errs := []error{t.dir.Close()}
	for _, f := range append(t.next, t.reading) {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	t.next, t.reading = nil, nil
	return errors.Join(errs...)
}

// files opens those that are newer than one, the oldest of them first; of nil all. They are opened from the newest on: where
// one becomes older meanwhile it is met twice, and not missed.
func (t *tape) files(than fs.FileInfo) (out []*os.File, err error) {
	var last fs.FileInfo
	for i := 0; ; i++ {
		f, err := t.dir.Open(shim.OutputName(i))
		if errors.Is(err, fs.ErrNotExist) && i == 0 {
			continue // it has become older, and the next one is not there yet
		}
		if errors.Is(err, fs.ErrNotExist) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		info, err := f.Stat()
		switch {
		case err != nil:
			return out, errors.Join(err, f.Close())
		case than != nil && os.SameFile(info, than):
			return out, f.Close()
		case last != nil && os.SameFile(info, last):
			_ = f.Close()
			continue
		}
		last = info
		out = append([]*os.File{f}, out...)
	}
}

// rewind leaves so many lines to be read, and drops files of which none is wanted.
func (t *tape) rewind(tail int) error {
	if tail < 0 {
		return nil
	}
	for i := len(t.next) - 1; i >= 0; i-- {
		at, found, err := lastLines(t.next[i], tail)
		if err != nil {
			return err
		}
		if tail -= found; tail > 0 {
			continue
		}
		for _, old := range t.next[:i] {
			_ = old.Close()
		}
		t.next = t.next[i:]
		_, err = t.next[0].Seek(at, io.SeekStart)
		return err
	}
	return nil
}

// skip drops files that hold nothing but older lines than are wanted.
func (t *tape) skip() {
	for len(t.next) > 1 {
		head := make([]byte, block)
		n, _ := t.next[1].ReadAt(head, 0)
		text, _, _ := bytes.Cut(head[:n], []byte{'\n'})
		if first, ok := parse(string(text)); !ok || !first.At.Before(t.since) {
			return
		}
		_ = t.next[0].Close()
		t.next = t.next[1:]
	}
}

// lastLines finds where the last n lines of a file begin, or how many it has where they are fewer. It reads from the end.
func lastLines(f *os.File, n int) (at int64, found int, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	buffer := make([]byte, block)
	end := info.Size()
	if n == 0 {
		return end, 0, nil
	}
	ends := 0
	for to := end; to > 0; {
		from := max(0, to-block)
		piece := buffer[:to-from]
		if _, err := f.ReadAt(piece, from); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		for i := len(piece) - 1; i >= 0; i-- {
			if piece[i] != '\n' {
				continue
			}
			if ends++; ends > n {
				return from + int64(i) + 1, n, nil
			}
		}
		to = from
	}
	return 0, ends, nil
}

// turn goes on with the next newer file, if there is one.
func (t *tape) turn() error {
	if t.reading == nil && len(t.next) == 0 { // it had written nothing yet
		files, err := t.files(nil)
		if err != nil {
			return err
		}
		t.next = files
	}
	if len(t.next) == 0 {
		return nil
	}
	if t.reading != nil {
		_ = t.reading.Close()
	}
	t.reading, t.next, t.part, t.full = t.next[0], t.next[1:], t.part[:0], false
	t.lines = bufio.NewReaderSize(t.reading, block)
	at, err := t.reading.Seek(0, io.SeekCurrent)
	t.offset = at
	return err
}

// line is the next one; false: there is none yet.
func (t *tape) line() (Line, bool, error) {
	for {
		if t.reading == nil {
			if err := t.turn(); err != nil || t.reading == nil {
				return Line{}, false, err
			}
			if len(t.next) > 0 { // it had written nothing yet, and has filled a file since: perhaps more than are kept
				return Line{Instance: t.id, At: time.Now(), Note: missing}, true, nil
			}
		}
		piece, err := t.lines.ReadSlice('\n')
		t.offset += int64(len(piece))
		if len(t.part) < longest {
			t.part = append(t.part, piece...)
		}
		switch {
		case err == nil:
			l, ok := parse(string(bytes.TrimSuffix(t.part, []byte{'\n'})))
			t.part = t.part[:0]
			if ok && !l.At.Before(t.since) {
				l.Instance = t.id
				return l, true, nil
			}
		case errors.Is(err, bufio.ErrBufferFull):
		case !errors.Is(err, io.EOF):
			return Line{}, false, err
		default:
			note, more, err := t.atEnd()
			if err != nil || note != "" {
				return Line{Instance: t.id, At: time.Now(), Note: note}, note != "", err
			}
			if !more {
				return Line{}, false, nil
			}
		}
	}
}

// atEnd looks what comes after the end of a file, and says whether there is more to read, or that lines were lost.
func (t *tape) atEnd() (note string, more bool, err error) {
	if t.full || len(t.next) > 0 {
		return "", true, t.turn()
	}
	mine, err := t.reading.Stat()
	if err != nil {
		return "", false, err
	}
	newest, err := t.dir.Stat(shim.OutputName(0))
	switch {
	case errors.Is(err, fs.ErrNotExist): // between two of them, or gone with the whole directory
	case err != nil:
		return "", false, err
	case os.SameFile(mine, newest) && mine.Size() < t.offset: // only one is kept, and it began anew
		t.offset, t.part = 0, t.part[:0]
		_, err = t.reading.Seek(0, io.SeekStart)
		t.lines.Reset(t.reading)
		return "", true, err
	case os.SameFile(mine, newest):
		return "", false, nil
	}
	if t.next, err = t.files(mine); err != nil || len(t.next) == 0 {
		return "", false, err
	}
	t.full = true // what was written between the end and now comes first
	if kept, err := t.keeps(mine); err == nil && !kept {
		note = missing
	}
	return note, true, nil
}

// keeps says whether a file is one of those that are kept.
func (t *tape) keeps(mine fs.FileInfo) (bool, error) {
	for i := 0; ; i++ {
		info, err := t.dir.Stat(shim.OutputName(i))
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			return false, nil
		}
		if err == nil && os.SameFile(info, mine) {
			return true, nil
		}
		if err != nil && i > 0 {
			return false, err
		}
	}
}
