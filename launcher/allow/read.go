package allow

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
)

const maxSize = 1 << 20

// drivers that there are.
var drivers = []string{"process", "external", "hook"}

// Read reads the list from a file of YAML or JSON. launcher.ErrUnsafe: somebody but root could have written it.
func Read(file string) (*List, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the launcher's list: %s: %w: its owner writes there what may be launched on this node: drivers, users, paths, services", file, fs.ErrNotExist)
	}
	if err := checkAbove(filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("read the launcher's list: %w", err)
	}
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("read the launcher's list: %s is a link: %w: name the file itself", file, launcher.ErrUnsafe)
	}
	if err != nil {
		return nil, fmt.Errorf("read the launcher's list: %w", err)
	}
	defer f.Close()
	if err := checkOwner(f); err != nil {
		return nil, fmt.Errorf("read the launcher's list: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read the launcher's list: %w", err)
	}
	if len(data) > maxSize {
		return nil, fmt.Errorf("read the launcher's list: %s has more than %d bytes", file, maxSize)
	}
	return parse(file, data)
}

// checkOwner refuses an open file that is not a plain one, or that somebody but root could write.
func checkOwner(f *os.File) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%s is not a plain file: %w", f.Name(), launcher.ErrUnsafe)
	}
	if st.Uid != 0 || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s belongs to user %d with mode %#o: %w: chown root, chmod go-w", f.Name(), st.Uid, st.Mode&0o7777, launcher.ErrUnsafe)
	}
	return nil
}

// checkAbove refuses a directory in which somebody but root could replace what lies in it, and those above it. In one with
// the sticky bit only the owner of a file can.
func checkAbove(dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for ; ; dir = filepath.Dir(dir) {
		var st unix.Stat_t
		if err := unix.Lstat(dir, &st); err != nil {
			return fmt.Errorf("look at %s: %w", dir, err)
		}
		if st.Uid != 0 || st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 {
			return fmt.Errorf("%s, above it, belongs to user %d with mode %#o: %w: chown root, chmod go-w", dir, st.Uid, st.Mode&0o7777, launcher.ErrUnsafe)
		}
		if dir == "/" {
			return nil
		}
	}
}

// parse refuses the whole list when a part of it is wrong: a list of what is allowed is not to be guessed at.
func parse(file string, data []byte) (*List, error) {
	l := &List{}
	if err := yaml.UnmarshalWithOptions(data, l, yaml.Strict()); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the launcher's list %s: %s", file, yaml.FormatError(err, false, false))
	}
	var errs []error
	complain := func(field, text, why string) {
		errs = append(errs, fmt.Errorf("read the launcher's list %s: %s: %q %s", file, field, plain.Line(text, 80), why))
	}
	for _, d := range l.Drivers {
		if !slices.Contains(drivers, d) {
			complain("drivers", d, fmt.Sprintf("is no driver: there are %v", drivers))
		}
	}
	for _, u := range l.Users {
		if u == "" || u == everything {
			complain("users", u, "is not the name of a user: name each of them")
		}
	}
	if _, err := l.Offer(); err != nil {
		errs = append(errs, fmt.Errorf("read the launcher's list %s: nodes: %w", file, err))
	}
	for _, p := range l.Paths {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || p == "/" {
			complain("paths", p, "is not an absolute path below the root without . and ..")
		}
	}
	for _, s := range l.Services {
		if s != everything && cluster.ValidName(s) != "" {
			complain("services", s, "is not the name of a service")
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}
