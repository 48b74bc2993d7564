package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/plain"
)

// Tail is the end of what an instance wrote, printable.
func Tail(dir string) ([]string, error) {
	f, err := os.OpenFile(filepath.Join(dir, OutputFile), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	const most = tailLines * (tailLength + 50)
	text := make([]byte, min(info.Size(), most))
	n, err := f.ReadAt(text, info.Size()-int64(len(text)))
	if n == 0 && err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(string(text[:n]), "\n"), "\n")
	if info.Size() > most {
		lines = lines[1:] // its beginning is not in what was read
	}
	lines = lines[max(0, len(lines)-tailLines):]
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		if parts := strings.SplitN(line, " ", 4); len(parts) == 4 { // time, stream, kind, text
			out = append(out, plain.Line(parts[3], tailLength))
		}
	}
	return out, nil
}

// Strip leaves nothing but the output and the record in the directory of an instance that is no more: its order may
// hold secrets.
func Strip(dir string) error {
	var errs []error
	for _, name := range []string{orderFile, graceFile, LockFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
