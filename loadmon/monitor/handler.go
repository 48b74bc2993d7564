package monitor

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/weir-lb/weir/internal/door"
)

// maxRequests is how many are answered at the same time: one leader asks for loads, and seldom for looks.
const maxRequests = 16

// Handler answers GET /v1/load and POST /v1/look to those who know the token.
func (m *Monitor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/load", m.load)
	mux.HandleFunc("POST /v1/look", m.look)
	return door.Counted(m.guard.Before(mux), func(code string) { m.c.Metrics.requests.WithLabelValues(code).Inc() })
}

func (m *Monitor) load(w http.ResponseWriter, r *http.Request) {
	report := m.asked(r.Context())
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
