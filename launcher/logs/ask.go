package logs

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/weir-lb/weir/cluster"
)

// Ask says what is wanted of a node's output.
type Ask struct {
	Service  string
	Instance string    // "": all
	Tail     int       // how many of the last lines of each instance; -1: all that are kept
	Since    time.Time // none that are older
	Follow   bool      // go on with new ones
}

// Query is how it is sent.
func (a Ask) Query() url.Values {
	q := url.Values{"service": {a.Service}, "tail": {strconv.Itoa(a.Tail)}}
	if a.Instance != "" {
		q.Set("instance", a.Instance)
	}
	if !a.Since.IsZero() {
		q.Set("since", a.Since.UTC().Format(time.RFC3339Nano))
	}
	if a.Follow {
		q.Set("follow", "true")
	}
	return q
}

// askOf reads it.
func askOf(q url.Values) (a Ask, err error) {
	a = Ask{Service: q.Get("service"), Instance: q.Get("instance")}
	if why := cluster.ValidName(a.Service); why != "" {
		return a, fmt.Errorf("service: %s", why)
	}
	if a.Instance != "" && cluster.ValidID(a.Instance) != "" {
		return a, fmt.Errorf("instance: %s", cluster.ValidID(a.Instance))
	}
	if a.Tail, err = strconv.Atoi(q.Get("tail")); err != nil || a.Tail < -1 {
		return a, fmt.Errorf("tail: want a number of lines, or -1 for all")
	}
	if since := q.Get("since"); since != "" {
		if a.Since, err = time.Parse(time.RFC3339Nano, since); err != nil {
			return a, fmt.Errorf("since: want a time such as 2026-01-02T15:04:05Z")
		}
	}
	switch q.Get("follow") {
	case "", "false":
	case "true":
		a.Follow = true
	default:
		return a, fmt.Errorf("follow: want true or false")
	}
	return a, nil
}
