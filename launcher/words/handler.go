package words

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
)

// What a Hearer answers where it does not take up a word.
var (
	ErrUnknown = errors.New("it is none of the instances that this node keeps") // or not any more
	ErrSoon    = errors.New("it asked less than a second ago")                  // and may ask again
	ErrFixed   = errors.New("the number of its service's instances is fixed")   // and does not follow what they ask for
)

// Hearer takes up what instances say.
type Hearer interface {
	// Ask takes up how many instances of its service an instance asks for.
	Ask(id string, a cluster.Ask) error
	// Fail takes up that an instance cannot go on.
	Fail(id, reason string) error
}

const (
	path      = "/v1/instances/"
	maxBody   = 16 << 10
	maxReason = 200
)

// URL is what an instance speaks to, where a Handler listens.
func URL(at netip.AddrPort, id string) string { return "http://" + at.String() + path + id }

// Metrics count what is said.
type Metrics struct{ words *prometheus.CounterVec }

// The ways in which a word ends.
const (
	taken      = "taken"
	noToken    = "no_token"
	wrongToken = "wrong_token"
	unknown    = "unknown"
	tooSoon    = "too_soon"
	fixed      = "fixed"
	wrong      = "wrong" // it makes no sense
)

// NewMetrics registers them; nil: nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "weir", Subsystem: "launcher", Name: "words_total", Help: "What instances said to the launcher, and what became of it."}, []string{"word", "result"})}
	for _, word := range []string{"ask", "fail"} {
		for _, result := range []string{taken, noToken, wrongToken, unknown, tooSoon, fixed, wrong} {
			m.words.WithLabelValues(word, result) // so that 0 shows
		}
	}
	if r != nil {
		r.MustRegister(m.words)
	}
	return m
}

// Handler hears the instances of this host.
func Handler(tokens *Tokens, to Hearer, m *Metrics) http.Handler {
	mux := http.NewServeMux()
	for word, read := range map[string]func([]byte) (func(id string) error, error){
		"ask": func(body []byte) (func(string) error, error) {
			a, err := readAsk(body)
			return func(id string) error { return to.Ask(id, a) }, err
		},
		"fail": func(body []byte) (func(string) error, error) {
			reason, err := readFail(body)
			return func(id string) error { return to.Fail(id, reason) }, err
		},
	} {
		mux.HandleFunc("POST "+path+"{id}/"+word, func(w http.ResponseWriter, r *http.Request) {
			result, code, err := hear(tokens, w, r, read)
			m.words.WithLabelValues(word, result).Inc()
			if err != nil {
				w.Header().Set("Connection", "close")
				http.Error(w, plain.Line(err.Error(), 400), code)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
	return mux
}

// hear takes up one word, if it is the instance's own.
func hear(tokens *Tokens, w http.ResponseWriter, r *http.Request, read func([]byte) (func(string) error, error)) (result string, code int, err error) {
	id := r.PathValue("id")
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !ok || token == "":
		return noToken, http.StatusUnauthorized, fmt.Errorf("give the instance's own token, $WEIR_TOKEN in its environment, as Authorization: Bearer TOKEN")
	case !tokens.are(token, id):
		return wrongToken, http.StatusForbidden, fmt.Errorf("this is not the token of instance %s: each has its own, $WEIR_TOKEN in its environment", plain.Line(id, 80))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return wrong, http.StatusRequestEntityTooLarge, fmt.Errorf("read what it says: %w", err)
	}
	say, err := read(body)
	if err != nil {
		return wrong, http.StatusBadRequest, err
	}
	err = say(id)
	switch {
	case errors.Is(err, ErrUnknown):
		return unknown, http.StatusNotFound, fmt.Errorf("instance %s: %w", plain.Line(id, 80), err)
	case errors.Is(err, ErrSoon):
		return tooSoon, http.StatusTooManyRequests, fmt.Errorf("instance %s: %w: the last one counts", plain.Line(id, 80), err)
	case errors.Is(err, ErrFixed):
		return fixed, http.StatusConflict, fmt.Errorf("instance %s: %w", plain.Line(id, 80), err)
	case err != nil:
		return wrong, http.StatusBadRequest, err
	}
	return taken, 0, nil
}

// Word is what is sent: of an ask Replicas or More, of a fail the reason alone.
type Word struct {
	Replicas int              `json:"replicas,omitempty"`
	More     int              `json:"more,omitempty"`
	Reason   string           `json:"reason,omitempty"`
	For      cluster.Duration `json:"for,omitempty"`
}

func decode(body []byte, to any, want string) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("want %s: %w", want, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("want %s, and nothing after it", want)
	}
	return nil
}

func readAsk(body []byte) (a cluster.Ask, err error) {
	var w Word
	if err := decode(body, &w, `{"replicas": 5} or {"more": 2}, and perhaps "reason" and "for"`); err != nil {
		return a, err
	}
	switch {
	case (w.Replicas == 0) == (w.More == 0):
		return a, errors.New(`give one of "replicas", how many there should be at least, and "more", how many more`)
	case w.Replicas < 0 || w.Replicas > cluster.MaxInstances || w.More < 0 || w.More > cluster.MaxInstances:
		return a, fmt.Errorf("%d is outside 1..%d: an instance may ask for more, and fewer follow by themselves", w.Replicas+w.More, cluster.MaxInstances)
	case w.For < 0 || w.For > cluster.MaxAsk:
		return a, fmt.Errorf("for %s: what is asked counts for 1s..%s", w.For, cluster.MaxAsk)
	}
	if w.For == 0 {
		w.For = cluster.DefaultAsk
	}
	return cluster.Ask{Replicas: w.Replicas, More: w.More, Reason: plain.Words(w.Reason, maxReason), For: w.For, At: time.Now().UTC()}, nil
}

func readFail(body []byte) (reason string, err error) {
	var w struct {
		Reason string `json:"reason"`
	}
	if len(body) > 0 {
		err = decode(body, &w, `{"reason": "..."}`)
	}
	return plain.Words(w.Reason, maxReason), err
}
