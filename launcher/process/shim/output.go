package shim

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/internal/plain"
)

const (
	lineSize   = 8 << 10 // longer lines are kept in parts
	batchSize  = 32 << 10
	tailLines  = 20
	tailLength = 400 // bytes of each of the last lines that are told
)

// output keeps what an instance writes: in files of a bounded size, as the lines of the container runtime interface
// ("TIME stdout F TEXT", P for a part of a line), the last lines in memory, and all of it for the log server.
type output struct {
	dir   string
	limit Output
	ship  *shipper // nil: nowhere

	mu    sync.Mutex
	file  *os.File
	size  int64
	torn  bool // the last write ended within a line
	tail  []string
	lost  uint64        // bytes
	cause error         // why
	dirty chan struct{} // of size one: lost has grown
}

func newOutput(dir string, limit Output, ship *shipper) *output {
	return &output{dir: dir, limit: limit, ship: ship, dirty: make(chan struct{}, 1)}
}

// copy reads one of the two streams until its end. It never stops to read, whatever becomes of what it read.
func (o *output) copy(stream string, from io.Reader) {
	lines := bufio.NewReaderSize(from, lineSize)
	batch := make([]byte, 0, 1<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			batch = o.take(batch, stream, line)
		}
		if lines.Buffered() == 0 || len(batch) > batchSize || err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			o.write(batch)
			batch = batch[:0]
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// take appends one line, or a part of one, to what is to be written.
func (o *output) take(batch []byte, stream string, line []byte) []byte {
	now := time.Now()
	kind := "P"
	if line[len(line)-1] == '\n' {
		kind, line = "F", line[:len(line)-1]
	}
	o.ship.offer(now, stream, line)
	o.mu.Lock()
	o.tail = append(o.tail, plain.Line(string(line[:min(len(line), 2*tailLength)]), tailLength))
	o.tail = o.tail[max(0, len(o.tail)-tailLines):]
	o.mu.Unlock()
	batch = now.UTC().AppendFormat(batch, "2006-01-02T15:04:05.000000Z")
	batch = append(batch, ' ')
	batch = append(append(batch, stream...), ' ')
	batch = append(append(batch, kind...), ' ')
	return append(append(batch, line...), '\n')
}

// write appends to the file and begins the next one when it is full.
func (o *output) write(batch []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	each := o.limit.Bytes / int64(o.limit.Files)
	if o.file == nil || o.size+int64(len(batch)) > each && o.size > 0 {
		if err := o.next(); err != nil {
			o.lose(len(batch), err)
			return
		}
	}
	if o.torn {
		batch = append([]byte{'\n'}, batch...)
	}
	n, err := o.file.Write(batch)
	o.size += int64(n)
	if n > 0 {
		o.torn = n < len(batch)
	}
	if err != nil {
		o.lose(len(batch)-n, err)
	}
}

func (o *output) lose(bytes int, why error) {
	o.lost += uint64(bytes)
	o.cause = why
	select {
	case o.dirty <- struct{}{}:
	default:
	}
}

// next opens the file to write to. The one before, of this shim or of an earlier one, becomes older when it is full.
func (o *output) next() error {
	if o.file != nil {
		o.file.Close()
		o.file = nil
		for i := o.limit.Files - 1; i > 0; i-- {
			if err := os.Rename(filepath.Join(o.dir, OutputName(i-1)), filepath.Join(o.dir, OutputName(i))); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_APPEND | unix.O_NOFOLLOW
	if o.limit.Files == 1 && o.size > 0 {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(filepath.Join(o.dir, OutputFile), flags, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	o.file, o.size, o.torn = f, info.Size(), false
	return nil
}

// OutputName is the file that i newer ones were begun after.
func OutputName(i int) string {
	if i == 0 {
		return OutputFile
	}
	return fmt.Sprintf("%s.%d", OutputFile, i)
}

// lastLines are the last lines of all.
func (o *output) lastLines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.tail...)
}

// loss says what of the output is not on the disk and why; 0: nothing.
func (o *output) loss() (uint64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost, o.cause
}
