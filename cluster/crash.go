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

// Crashes is which ends of a service's instances events tell of: ops/crashes/<service>. The leader writes it in the transaction
// of the event, so whoever leads next tells of none twice, and of none too few.
type Crashes struct {
	Since time.Time            `json:"since"` // of the span of time in which events are counted, by the leader's clock
	Span  Duration             `json:"span"`  // how long that is
	Told  int                  `json:"told"`  // how many events of one end there were in it
	Known map[string]ToldCrash `json:"known"` // the last end that was told of, by instance
}

// ToldCrash is what tells a Crash that was told of from the next one.
type ToldCrash struct {
	At    time.Time `json:"at"`
	Count int       `json:"count"`
}

// Knows says whether an end of an instance was told of. By the count as well, as the node's clock may have been set back.
func (c Crashes) Knows(id string, crash Crash) bool {
	known, there := c.Known[id]
	return there && !crash.At.After(known.At) && crash.Count <= known.Count
}
