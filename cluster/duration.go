package cluster

import (
	"fmt"
	"time"
)

// Duration is written as in "1.5s" or "2m".
type Duration time.Duration

// String is the shortest form that ParseDuration reads.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes it for JSON.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write a number and its unit, as in 500ms, 2s or 1m", clip(string(text)))
	}
	*d = Duration(parsed)
	return nil
}
