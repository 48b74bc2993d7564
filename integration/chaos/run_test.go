package chaos

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/integration"
)

// run is one variant of a row under way.
type run struct {
	*testing.T
	Variant
	line Line
}

// start runs a row and prints its line, also when it fails half-way.
func start(t *testing.T, row Row, v Variant, do func(*run)) {
	r := &run{T: t, Variant: v, line: Line{
		Row: row.ID, Driver: v.Driver, Owner: v.Owner, Target: row.Target,
		Figures: map[string]float64{}, At: time.Now().UTC().Truncate(time.Second), Kernel: kernel(t),
	}}
	began := time.Now()
	defer func() { // also after FailNow
		r.line.OK, r.line.Took = !t.Failed(), round(time.Since(began).Seconds(), 1)
		if err := r.line.Write(os.Stdout); err != nil {
			t.Error(err)
		}
	}()
	do(r)
}

// Errorf keeps the first reason for the line.
func (r *run) Errorf(format string, args ...any) {
	r.Helper()
	if r.line.Why == "" {
		r.line.Why = brief(fmt.Sprintf(format, args...))
	}
	r.T.Errorf(format, args...)
}

// brief makes one line of what testify says in many: the error and the message, without the trace and the test's name.
func brief(text string) string {
	if _, after, found := strings.Cut(text, "Error:"); found {
		said, rest, _ := strings.Cut(after, "Test:")
		_, message, _ := strings.Cut(rest, "Messages:")
		text = said + " " + message
	}
	text = strings.Join(strings.Fields(text), " ")
	return strings.ToValidUTF8(text[:min(len(text), 200)], "")
}

// world is a cluster of three nodes and four instances whose agents run as the variant says.
func (r *run) world(o integration.Options) *integration.World {
	r.Helper()
	if o.Program == "" {
		o.Program = program
	}
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	o.Instances, o.Owner = max(o.Instances, 4), r.Owner
	if r.Driver != "nft" {
		o.AgentArgs = append([]string{"--driver", r.Driver}, o.AgentArgs...)
	}
	return integration.NewWorld(r, o)
}

// figure notes one of the row's own figures.
func (r *run) figure(name string, value float64) { r.line.Figures[name] = round(value, 3) }

// repaired notes the longest repair so far.
func (r *run) repaired(took time.Duration) { r.line.Repair = max(r.line.Repair, milliseconds(took)) }

// detected notes the longest detection so far.
func (r *run) detected(took time.Duration) { r.line.Detect = max(r.line.Detect, milliseconds(took)) }

func milliseconds(d time.Duration) float64 { return round(float64(d)/1e6, 2) }

func round(x float64, digits int) float64 {
	scale := 1.0
	for range digits {
		scale *= 10
	}
	return float64(int64(x*scale+0.5)) / scale
}

// kernel is the version that behaviour depends on: major and minor. The rest names the machine.
func kernel(t *testing.T) string {
	var name unix.Utsname
	require.NoError(t, unix.Uname(&name))
	version := regexp.MustCompile(`^\d+\.\d+`).FindString(unix.ByteSliceToString(name.Release[:]))
	require.NotEmpty(t, version)
	return version
}
