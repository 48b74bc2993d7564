package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// Line is what one variant of a row found out.
type Line struct {
	Row        string             `json:"row"`
	Driver     string             `json:"driver"`
	Owner      string             `json:"owner,omitempty"`
	ConnFailed int                `json:"conn_failed"`           // new connections that no instance answered
	LiveBroken int                `json:"live_broken"`           // of the long-lived connections
	Conns      int                `json:"conns"`                 // new connections that were tried
	Detect     float64            `json:"t_detect_ms,omitempty"` // from the fault until somebody says so
	Repair     float64            `json:"t_repair_ms,omitempty"` // from the fault until all is as it was
	Figures    map[string]float64 `json:"figures,omitempty"`     // the row's own
	Target     string             `json:"target"`
	OK         bool               `json:"ok"`
	Why        string             `json:"why,omitempty"` // it is not
	Took       float64            `json:"took_s"`
	At         time.Time          `json:"at"`
	Kernel     string             `json:"kernel"`
}

// Variant that the line is of.
func (l Line) Variant() Variant { return Variant{l.Driver, l.Owner} }

// Write writes the line as JSON.
func (l Line) Write(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false) // targets have "<" in them, and people read this
	return out.Encode(l)
}

// ReadLines picks the lines out of what the tests print.
func ReadLines(r io.Reader) (lines []Line, err error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if !strings.HasPrefix(in.Text(), `{"row":`) {
			continue
		}
		var l Line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("line %s: %w", in.Text(), err)
		}
		lines = append(lines, l)
	}
	return lines, in.Err()
}
