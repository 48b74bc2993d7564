package monitor

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// maxRequests is how many are answered at the same time: one leader asks for loads, and seldom for looks.
const maxRequests = 16

// Handler answers GET /v1/load and POST /v1/look to those who know the token.
func (m *Monitor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/load", m.load)
	mux.HandleFunc("POST /v1/look", m.look)
	return m.counted(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		select {
		case m.slots <- struct{}{}:
			defer func() { <-m.slots }()
		default:
			refuse(w, http.StatusServiceUnavailable, "too many requests at once: ask again in a second")
			return
		}
		if !m.gate.admits(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, "give the token of ops/secret as Authorization: Bearer TOKEN")
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

// refuse also ends the connection, so that who may not ask holds none.
func refuse(w http.ResponseWriter, code int, why string) {
	w.Header().Set("Connection", "close")
	http.Error(w, why, code)
}

func (m *Monitor) load(w http.ResponseWriter, _ *http.Request) {
	m.mu.Lock()
	report := m.report
	m.mu.Unlock()
	if report == nil {
		http.Error(w, "nothing has been measured yet", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(report)))
	_, _ = w.Write(report)
}

func answer(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(text)
}

// counted counts answers by their status.
func (m *Monitor) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &status{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(s, r)
		m.c.Metrics.requests.WithLabelValues(strconv.Itoa(s.code)).Inc()
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
