package logs

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/internal/runner"
)

// Path is where logs are asked for.
const Path = "/v1/logs"

// Silence is the longest time in which an answer that goes on says nothing.
const Silence = 15 * time.Second

const (
	pace     = 250 * time.Millisecond // from one look for new lines to the next
	relook   = 4                      // looks for new instances after so many of them
	beat     = Silence / 3            // a word, where there is no line
	patience = 10 * time.Second       // with who does not read
	longLine = 4 * longest            // of an answer: what JSON makes of the worst line
)

// Handler hands out what is on the shelf as lines of JSON. It is to stand behind a guard.
func Handler(shelf Shelf, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, r *http.Request) {
		ask, err := askOf(r.URL.Query())
		if err != nil {
			http.Error(w, plain.Line(err.Error(), 300), http.StatusBadRequest)
			return
		}
		reel, err := openReel(shelf, ask)
		defer func() { reel.close() }()
		if err != nil {
			log.Warn("hand out logs", "service", ask.Service, "err", err)
		}
		p := newPlayer(w, reel)
		if err != nil {
			err = p.send(Line{Note: plain.Line(err.Error(), 300)})
		}
		if err == nil {
			err = p.run(r.Context())
		}
		if err != nil && r.Context().Err() == nil {
			log.Debug("hand out logs", "service", ask.Service, "err", err)
		}
	})
	return mux
}

// player sends a reel to somebody.
type player struct {
	reel    *reel
	control *http.ResponseController
	to      *json.Encoder
	granted time.Time // when who reads got time the last time
}

func newPlayer(w http.ResponseWriter, r *reel) *player {
	w.Header().Set("Content-Type", "application/x-ndjson")
	p := &player{reel: r, control: http.NewResponseController(w), to: json.NewEncoder(w)}
	p.to.SetEscapeHTML(false)
	_ = p.control.SetReadDeadline(time.Time{}) // the request is read; a server without deadlines is none of ours
	return p
}

// run sends what is kept and, where that is asked for, what comes after it.
func (p *player) run(ctx context.Context) error {
	if err := p.send(Line{Instances: append([]string{}, p.reel.instances()...)}); err != nil {
		return err
	}
	spoke := time.Now()
	tell := func(l Line) error {
		spoke = time.Now()
		if err := ctx.Err(); err != nil {
			return err
		}
		return p.send(l)
	}
	if err := p.reel.play(tell); err != nil || !p.reel.ask.Follow {
		return err
	}
	if err := p.live(); err != nil {
		return err
	}
	for round := 1; runner.Sleep(ctx, pace); round++ {
		before := spoke
		if round%relook == 0 {
			if err := p.reel.look(-1); err != nil {
				return err
			}
		}
		if err := p.reel.play(tell); err != nil {
			return err
		}
		if time.Since(spoke) > beat {
			spoke = time.Now()
			if err := p.live(); err != nil {
				return err
			}
		}
		if spoke.After(before) {
			if err := p.control.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *player) live() error {
	if err := p.send(Line{Live: true}); err != nil {
		return err
	}
	return p.control.Flush()
}

func (p *player) send(l Line) error {
	if now := time.Now(); now.Sub(p.granted) > time.Second {
		p.granted = now
		_ = p.control.SetWriteDeadline(now.Add(patience))
	}
	return p.to.Encode(l)
}

// Read tells what a Handler sent.
func Read(from io.Reader, tell func(Line) error) error {
	s := bufio.NewScanner(from)
	s.Buffer(make([]byte, 0, 4<<10), longLine)
	for s.Scan() {
		var l Line
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return fmt.Errorf("read its answer: %w", err)
		}
		if err := tell(l); err != nil {
			return err
		}
	}
	return s.Err()
}
