package keep

import (
	"math"
	"time"
)

const (
	// An instance that ends is started again at once; the next times after firstPause, half as long again each time, up to
	// longestPause.
	firstPause   = time.Second
	pauseGrows   = 1.5
	longestPause = 300 * time.Second
	// steady is how long one has to run for what was before to be forgotten.
	steady = 10 * time.Minute
)

// crashes counts how often an instance ended by itself soon after it was started. It reads no clock.
type crashes struct{ row int }

// ended takes note of an end.
func (c *crashes) ended(started, now time.Time) {
	if !started.IsZero() && now.Sub(started) >= steady {
		c.row = 0
	}
	c.row++
}

// failed takes note of a start that did not come about.
func (c *crashes) failed() { c.row = max(c.row+1, 2) }

// pause is from the last end to the next start.
func (c *crashes) pause() time.Duration {
	if c.row <= 1 {
		return 0
	}
	grown := float64(firstPause) * math.Pow(pauseGrows, float64(min(c.row-2, 50)))
	return time.Duration(min(grown, float64(longestPause)))
}
