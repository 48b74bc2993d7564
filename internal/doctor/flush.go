package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// maxIncludes bounds the files that include each other.
const maxIncludes = 200

var (
	flushLine  = regexp.MustCompile(`(^|[;{\s])flush\s+ruleset\b`)
	includes   = regexp.MustCompile(`(?:^|;)\s*include\s+"([^"]+)"`)
	unitWanted = "etc/systemd/system/*.wants/nftables.service"
)

// flushes finds the lines that empty the whole ruleset in /etc/nftables.conf and what it includes.
func flushes(root string) ([]Flush, error) {
	root = filepath.Join("/", root)
	atBoot, _ := filepath.Glob(filepath.Join(root, unitWanted))
	w := &confWalk{root: root, seen: map[string]bool{}}
	if err := w.file("/etc/nftables.conf"); err != nil {
		return nil, err
	}
	for i := range w.found {
		w.found[i].AtBoot = len(atBoot) > 0
	}
	return w.found, nil
}

type confWalk struct {
	root  string
	seen  map[string]bool
	found []Flush
}

func (w *confWalk) file(name string) error {
	if w.seen[name] || len(w.seen) >= maxIncludes {
		return nil
	}
	w.seen[name] = true
	info, err := os.Stat(filepath.Join(w.root, name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for flush ruleset: %w", err)
	}
	text, err := readBounded(filepath.Join(w.root, name))
	if err != nil {
		return fmt.Errorf("look for flush ruleset: %w", err)
	}
	flushed, included := readConf(string(text))
	for _, line := range flushed {
		w.found = append(w.found, Flush{File: name, Line: line})
	}
	for _, pattern := range included {
		if err := w.include(name, pattern); err != nil {
			return err
		}
	}
	return nil
}

// include follows one include line: its name may have wildcards, and be relative to /etc, where nft looks.
func (w *confWalk) include(from, pattern string) error {
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(filepath.Dir(from), pattern)
	}
	found, err := filepath.Glob(filepath.Join(w.root, pattern))
	if err != nil {
		return nil // a pattern that nft would not take either
	}
	for _, path := range found {
		if err := w.file("/" + strings.TrimPrefix(strings.TrimPrefix(path, w.root), "/")); err != nil {
			return err
		}
	}
	return nil
}

// readConf finds, in the text of one file, the lines that flush and the names that are included.
func readConf(text string) (flushed []int, included []string) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		line, _, _ = strings.Cut(line, "#")
		if flushLine.MatchString(line) {
			flushed = append(flushed, number)
		}
		for _, m := range includes.FindAllStringSubmatch(line, -1) {
			included = append(included, m[1])
		}
	}
	return flushed, included
}
