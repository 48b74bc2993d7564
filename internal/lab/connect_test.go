package lab

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestReadGreeting(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("a", maxID-1)
	for _, tc := range []struct {
		name, sent, id string
		err            error
	}{
		{"a line", "a1\n", "a1", nil},
		{"more behind it", "a1\n\x00\x00", "a1", nil},
		{"the longest", longest + "\n", longest, nil},
		{"too long", longest + "aa\n", "", errAnswer},
		{"no end", "a1", "", io.EOF},
		{"nothing", "", "", io.EOF},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "in pieces": iotest.OneByteReader, "with the end": iotest.DataErrReader,
		} {
			t.Run(tc.name+" "+how, func(t *testing.T) {
				id, err := readGreeting(reader(strings.NewReader(tc.sent)))
				require.Equal(t, tc.id, id)
				require.ErrorIs(t, err, tc.err)
			})
		}
	}
}
