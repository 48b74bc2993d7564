package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/weir-lb/weir/launcher"
)

// Shelf is where drivers keep what instances wrote.
type Shelf interface {
	Kept() ([]launcher.Kept, error)
}

// reel is all the output that somebody asked for.
type reel struct {
	shelf Shelf
	ask   Ask
	tapes []*tape
}

func openReel(shelf Shelf, ask Ask) (*reel, error) {
	r := &reel{shelf: shelf, ask: ask}
	return r, r.look(ask.Tail)
}

func (r *reel) close() {
	for _, t := range r.tapes {
		_ = t.close()
	}
}

// look opens what is kept now and is not open yet, and closes what is not kept any more.
func (r *reel) look(tail int) error {
	kept, err := r.shelf.Kept()
	seen := map[*tape]bool{}
	for _, k := range kept {
		if r.ask.Instance != "" && k.ID != r.ask.Instance || k.Service != r.ask.Service && (k.Service != "" || r.ask.Instance == "") {
			continue
		}
		info, serr := os.Lstat(k.Dir)
		if t := r.open(k.ID, info); t != nil {
			seen[t] = true
			continue
		}
		t, oerr := openTape(k.ID, k.Dir, tail, r.ask.Since)
		if errors.Is(oerr, fs.ErrNotExist) {
			continue // it was moved or forgotten meanwhile
		}
		if oerr != nil || serr != nil {
			err = errors.Join(err, fmt.Errorf("instance %s: %w", k.ID, errors.Join(oerr, serr)))
			continue
		}
		seen[t] = true
		r.tapes = append(r.tapes, t)
	}
	left := r.tapes[:0]
	for _, t := range r.tapes {
		if seen[t] {
			left = append(left, t)
		} else {
			_ = t.close()
		}
	}
	r.tapes = left
	return err
}

// open is the tape of a directory, wherever that was moved to.
func (r *reel) open(id string, info fs.FileInfo) *tape {
	for _, t := range r.tapes {
		if t.id != id || info == nil {
			continue
		}
		if mine, err := t.dir.Stat("."); err == nil && os.SameFile(mine, info) {
			return t
		}
	}
	return nil
}

// instances are those whose output it is, each once.
func (r *reel) instances() (ids []string) {
	seen := map[string]bool{}
	for _, t := range r.tapes {
		if !seen[t.id] {
			seen[t.id] = true
			ids = append(ids, t.id)
		}
	}
	return ids
}

// play tells all lines that are there.
func (r *reel) play(tell func(Line) error) error {
	sources := make([]Source, len(r.tapes))
	for i, t := range r.tapes {
		sources[i] = t.line
	}
	tapes := r.tapes
	return Merge(sources, tell, func(i int, err error) {
		_ = tell(Line{Instance: tapes[i].id, Note: "it cannot be read on: " + err.Error()}) // who does not hear it is gone
	})
}
