package main

import (
	"fmt"
	"time"
)

// sinceFlag is a time in the past, as a moment or as how long ago it was. The zero value is the beginning of everything.
type sinceFlag struct {
	ago time.Duration
	at  time.Time
}

// from is the moment itself; zero: from the beginning.
func (f sinceFlag) from(now time.Time) time.Time {
	if f.ago > 0 {
		return now.Add(-f.ago)
	}
	return f.at
}

// String, Set and Type make it a flag.
func (f *sinceFlag) String() string {
	if !f.at.IsZero() {
		return f.at.Format(time.RFC3339)
	}
	return f.ago.String()
}

func (f *sinceFlag) Set(text string) error {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		*f = sinceFlag{at: at}
		return nil
	}
	ago, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("want how long ago, such as 10m, or a time, such as 2026-01-02T15:04:05Z")
	}
	if ago < 0 {
		return fmt.Errorf("%s lies in the future", text)
	}
	*f = sinceFlag{ago: ago}
	return nil
}

func (f *sinceFlag) Type() string { return "duration|time" }
