package keep

import (
	"strings"
	"time"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/internal/plain"
	"github.com/weir-lb/weir/launcher"
)

// lastLine bounds what is told of the output before an end, in bytes.
const lastLine = 200

// crashed takes note of how an instance ended by itself, and when it is to be started again.
func (w *ward) crashed(at time.Time, how string, output []string, starts int) {
	w.crash = &cluster.Crash{At: at.Round(0), How: plain.Line(how, lastLine), Pause: cluster.Duration(w.crashes.pause()), Count: starts}
	for _, line := range output {
		if strings.TrimSpace(line) != "" {
			w.crash.Output = plain.Words(line, lastLine)
		}
	}
}

// vanished takes note of an instance that is gone though its driver knows of no end, as when its shim was killed. Only one
// that was seen running is: else nobody can tell whether that was told before.
func (w *ward) vanished(n news) {
	st := n.status
	if st == nil || st.State != launcher.Exited || w.ran.IsZero() || !st.Started.Equal(w.ran) {
		return
	}
	w.ran = time.Time{}
	how := "it is not known how it ended"
	if len(st.Problems) > 0 {
		how = st.Problems[len(st.Problems)-1].What
	}
	w.crashed(n.now.UTC(), how, st.Output, w.own.Starts+st.Starts)
	w.crash.Pause = 0
}

// crashBefore is the last end of an instance that runs again, as its driver knows it: a launcher that ended in between may not
// have told of it. An end without a reason is when somebody else found that it was gone, which is another time each time.
func crashBefore(st *launcher.Status) *cluster.Crash {
	if len(st.Exits) == 0 {
		return nil
	}
	e := st.Exits[len(st.Exits)-1]
	if e.Wanted || e.Code < 0 && e.Signal == "" || st.Started.Before(e.At) {
		return nil
	}
	return &cluster.Crash{At: e.At.Round(0), How: e.String(), Pause: cluster.Duration(st.Started.Sub(e.At).Round(time.Millisecond)), Count: st.Starts - 1}
}
