package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/weir-lb/weir/launcher/process/shim"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// pen writes as a shim does: line n of stdout n seconds after noon.
type pen struct {
	dir   string
	file  *os.File
	lines int
	err   error
}

func newPen(dir string) *pen { return &pen{dir: dir} }

func (p *pen) do(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *pen) raw(text string) {
	var err error
	if p.file == nil {
		p.file, err = os.OpenFile(filepath.Join(p.dir, shim.OutputFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		p.do(err)
	}
	_, err = p.file.WriteString(text)
	p.do(err)
}

func (p *pen) write(n int) {
	for range n {
		p.raw(fmt.Sprintf("%s stdout F line %d\n", noon.Add(time.Duration(p.lines)*time.Second).Format("2006-01-02T15:04:05.000000Z"), p.lines))
		p.lines++
	}
}

// rotate keeps four files.
func (p *pen) rotate() {
	if p.file == nil {
		return
	}
	p.do(p.file.Close())
	p.file = nil
	for i := 3; i > 0; i-- {
		if err := os.Rename(filepath.Join(p.dir, shim.OutputName(i-1)), filepath.Join(p.dir, shim.OutputName(i))); !os.IsNotExist(err) {
			p.do(err)
		}
	}
}

// drain reads all that is there.
func drain(t require.TestingT, tape *tape) (texts []string) {
	for {
		l, ok, err := tape.line()
		require.NoError(t, err)
		if !ok {
			return texts
		}
		if l.Note != "" {
			texts = append(texts, "note: "+l.Note)
			continue
		}
		require.Equal(t, "a-1", l.Instance)
		texts = append(texts, l.Text)
	}
}

func numbered(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("line %d", i))
	}
	return out
}

func TestTail(t *testing.T) {
	t.Parallel()
	p := newPen(t.TempDir())
	for range 3 {
		p.write(3000) // more than one block of each file
		p.rotate()
	}
	p.write(10)
	require.NoError(t, p.err)
	for tail, want := range map[int][]string{
		-1: numbered(0, 9010), 0: nil, 1: numbered(9009, 9010), 10: numbered(9000, 9010), 11: numbered(8999, 9010),
		3010: numbered(6000, 9010), 3011: numbered(5999, 9010), 9010: numbered(0, 9010), 10000: numbered(0, 9010),
	} {
		tape, err := openTape("a-1", p.dir, tail, time.Time{})
		require.NoError(t, err)
		require.Equal(t, want, drain(t, tape), "tail %d", tail)
		require.NoError(t, tape.close())
	}
	tape, err := openTape("a-1", p.dir, -1, noon.Add(7000*time.Second))
	require.NoError(t, err)
	require.Len(t, tape.next, 1, "older files are not read")
	require.Equal(t, numbered(7000, 9010), drain(t, tape))
	require.NoError(t, tape.close())
	tape, err = openTape("a-1", p.dir, 5, noon.Add(9007*time.Second))
	require.NoError(t, err)
	require.Equal(t, numbered(9007, 9010), drain(t, tape))
	require.NoError(t, tape.close())
}

// Whatever is written between two looks, each line is told once and in order, as long as the files that are kept hold it; and
// where they did not, that is told.
func TestFollowing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "tape")
		require.NoError(t, err)
		defer os.RemoveAll(dir)
		p := newPen(dir)
		p.write(rapid.IntRange(0, 5).Draw(t, "before"))
		tape, err := openTape("a-1", dir, -1, time.Time{})
		require.NoError(t, err)
		var got []string
		rotations, lost := 0, false
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				p.write(rapid.IntRange(1, 3).Draw(t, "lines"))
			case 1:
				if p.file != nil {
					rotations++
				}
				p.rotate()
			case 2:
				got = append(got, drain(t, tape)...)
				rotations = 0
			}
			lost = lost || rotations > 3
		}
		p.write(1)
		got = append(got, drain(t, tape)...)
		require.NoError(t, p.err)
		require.NoError(t, tape.close())
		if !lost {
			require.Equal(t, numbered(0, p.lines), slices.DeleteFunc(got, func(text string) bool { return strings.HasPrefix(text, "note: ") }))
			return
		}
		require.Equal(t, fmt.Sprintf("line %d", p.lines-1), got[len(got)-1])
		seen := -1
		for _, text := range got {
			var n int
			if _, err := fmt.Sscanf(text, "line %d", &n); err == nil {
				require.Greater(t, n, seen)
				seen = n
			}
		}
		if len(got) < p.lines {
			require.Contains(t, strings.Join(got, " "), "note: lines may be missing here")
		}
	})
}

// It had written nothing, and then more than is kept.
func TestABurstAfterNothing(t *testing.T) {
	t.Parallel()
	p := newPen(t.TempDir())
	tape, err := openTape("a-1", p.dir, -1, time.Time{})
	require.NoError(t, err)
	require.Empty(t, drain(t, tape))
	for range 4 {
		p.write(2)
		p.rotate()
	}
	p.write(1)
	require.NoError(t, p.err)
	require.Equal(t, append([]string{"note: " + missing}, numbered(2, 9)...), drain(t, tape))
	require.NoError(t, tape.close())
}

func TestADirectoryThatIsMoved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a-1")
	require.NoError(t, os.Mkdir(dir, 0o700))
	p := newPen(dir)
	p.write(2)
	tape, err := openTape("a-1", dir, -1, time.Time{})
	require.NoError(t, err)
	require.Equal(t, numbered(0, 2), drain(t, tape))
	p.write(1)
	p.dir += "-stopped"
	require.NoError(t, os.Rename(dir, p.dir))
	p.rotate()
	p.write(1)
	require.Equal(t, numbered(2, 4), drain(t, tape))
	require.NoError(t, os.RemoveAll(p.dir))
	require.Empty(t, drain(t, tape))
	require.NoError(t, tape.close())
	require.NoError(t, p.err)
}

func TestWhatIsNoLine(t *testing.T) {
	t.Parallel()
	p := newPen(t.TempDir())
	p.write(1)
	p.raw("rubbish\n\n" + strings.Repeat("x", 3*block) + "\n2026-01-02 stdout F bad time\n")
	p.raw(noon.Format(time.RFC3339Nano) + " stderr P a part")
	tape, err := openTape("a-1", p.dir, -1, time.Time{})
	require.NoError(t, err)
	require.Equal(t, numbered(0, 1), drain(t, tape), "a line counts when its end is there")
	p.raw(" of it\n")
	l, ok, err := tape.line()
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, Line{Instance: "a-1", At: noon, Stream: "stderr", Text: "a part of it", Part: true}, l)
	// One file that begins anew, as where only one is kept.
	require.NoError(t, os.Truncate(filepath.Join(p.dir, shim.OutputFile), 0))
	p.write(1)
	require.Equal(t, numbered(1, 2), drain(t, tape))
	require.NoError(t, tape.close())
	_, err = openTape("a-1", filepath.Join(p.dir, "none"), -1, time.Time{})
	require.ErrorIs(t, err, os.ErrNotExist)
}
