package traffic

import (
	"os"
	"strconv"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/internal/lab"
)

// repeated is how many first packets of connections a host has had to send again.
func (r *Road) repeated(host *lab.Host) uint64 {
	r.t.Helper()
	var text []byte
	require.NoError(r.t, host.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/netstat")
		return err
	}))
	var names []string
	for line := range strings.Lines(string(text)) { // each line of numbers follows one of their names
		fields := strings.Fields(line)
		for i, name := range names {
			if name == "TCPSynRetrans" && i < len(fields) {
				n, err := strconv.ParseUint(fields[i], 10, 64)
				require.NoError(r.t, err)
				return n
			}
		}
		names = fields
	}
	require.FailNow(r.t, "the kernel does not count them")
	return 0
}
