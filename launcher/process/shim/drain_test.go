package shim

import (
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What an instance wrote before it ended is kept, although nobody got to read it for a while.
func TestDrainWaitsForWhatWasWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var streams child
		var ends [2]*os.File
		for i, stream := range []**os.File{&streams.stdout, &streams.stderr} {
			var err error
			*stream, ends[i], err = os.Pipe()
			require.NoError(t, err)
			_, err = ends[i].WriteString("the last words\n")
			require.NoError(t, err)
			require.NoError(t, ends[i].Close())
		}
		o := newOutput(t.TempDir(), Output{Bytes: 1 << 20, Files: 2}, nil)
		var copies sync.WaitGroup
		copies.Go(func() {
			time.Sleep(drainTime + drainTime/2) // of the bubble
			o.copy("stdout", streams.stdout)
			o.copy("stderr", streams.stderr)
		})
		drain(&copies, streams)
		require.Equal(t, []string{"the last words", "the last words"}, o.lastLines())
	})
}
