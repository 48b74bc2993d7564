package door

import (
	"context"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	gatePause    = time.Second     // between two questions to etcd because of wrong tokens
	gatePatience = 2 * time.Second // for its answer
	gateTrust    = time.Minute     // then a token that was replaced is worth nothing any more
)

// Guard lets in who knows the token of ops/secret, a bounded number of requests at the same time.
type Guard struct {
	gate  *gate
	slots chan struct{} // one for each request that may be under way
}

// NewGuard makes one; secret is the token, "" while there is none.
func NewGuard(secret func(context.Context) (string, error), most int, log *slog.Logger) *Guard {
	return &Guard{&gate{secret: secret, log: log}, make(chan struct{}, most)}
}

// Before keeps all others from a handler.
func (g *Guard) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		select {
		case g.slots <- struct{}{}:
			defer func() { <-g.slots }()
		default:
			Refuse(w, http.StatusServiceUnavailable, "too many requests at once: ask again in a second")
			return
		}
		if !g.gate.admits(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			Refuse(w, http.StatusUnauthorized, "give the token of ops/secret as Authorization: Bearer TOKEN")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Refuse also ends the connection, so that who may not ask holds none.
func Refuse(w http.ResponseWriter, code int, why string) {
	w.Header().Set("Connection", "close")
	http.Error(w, why, code)
}

// Counted tells of the status of each answer.
func Counted(next http.Handler, tell func(code string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &status{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(s, r)
		tell(strconv.Itoa(s.code))
	})
}

// status remembers what was answered.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap lets a handler reach the connection, as http.ResponseController does.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// gate lets in who knows the token. It remembers the token, so that it works while etcd is away, and asks etcd again when
// somebody comes with another one: that may be the new one.
type gate struct {
	secret func(context.Context) (string, error)
	log    *slog.Logger

	mu    sync.Mutex
	token string        // "" while none is known
	read  time.Time     // when etcd last told it
	asked time.Time     // when etcd was last asked
	reply chan struct{} // closed once it has answered; nil: nobody asks at present
}

func (g *gate) admits(r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || given == "" {
		return false
	}
	known, ask, reply := g.known(given)
	switch {
	case ask:
		g.ask(r.Context())
	case reply != nil: // somebody else asks, and the answer may be about this token, too
		select {
		case <-reply:
		case <-r.Context().Done():
		}
	default:
		return known
	}
	known, _, _ = g.known(given)
	return known
}

// known says whether a token is the one that is remembered, and whether etcd has to be asked: it says so to one at a time,
// and the others wait for the same reply.
func (g *gate) known(given string) (known, ask bool, reply <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known = g.token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(g.token)) == 1
	now := time.Now()
	if known && now.Sub(g.read) < gateTrust {
		return known, false, nil
	}
	if ask = g.reply == nil && now.Sub(g.asked) >= gatePause; ask {
		g.asked, g.reply = now, make(chan struct{})
	}
	return known, ask, g.reply
}

// ask asks etcd, for others as well: it does not end when the one who came first goes away.
func (g *gate) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatePatience)
	defer cancel()
	token, err := g.secret(ctx)
	if err != nil {
		g.log.Debug("the token of those who ask is not known anew", "err", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil {
		g.token, g.read = token, time.Now()
	}
	if g.reply != nil {
		close(g.reply)
		g.reply = nil
	}
}
