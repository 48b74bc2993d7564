package cluster

import "time"

// Crash is how an instance last ended by itself, as its launcher tells it in Launched.
type Crash struct {
	At     time.Time `json:"at"`               // by its node's clock; tells one from the next
	How    string    `json:"how"`              // exit code or signal, or its own word that it fails
	Output string    `json:"output,omitempty"` // the last line that it wrote, printable
	Pause  Duration  `json:"pause,omitempty"`  // to the next start; 0: none
	Count  int       `json:"count"`            // how often it has ended so, this time included, as far as its launcher knows
}
