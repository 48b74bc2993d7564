package nft

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/weir-lb/weir/cluster"
	"github.com/weir-lb/weir/rules"
)

// crowded is how many services there are: to write all of them takes less time than a process may live until it is killed,
// so that any moment of writing may be its last.
const crowded = 1000

// crowd is services that all have n instances.
func crowd(n int) *rules.Ruleset {
	var services []*cluster.Service
	for i := range crowded {
		s := service(fmt.Sprintf("s%d", i), netip.AddrFrom4([4]byte{10, 10, byte(i / 250), byte(i%250 + 1)}).String(), 80)
		for k := range n {
			s.Instances = append(s.Instances, cluster.Instance{
				ID: fmt.Sprint(k), Addr: netip.AddrFrom4([4]byte{192, 168, 10, byte(k + 1)}), Port: 80, Weight: 1,
			})
		}
		services = append(services, s)
	}
	return build(rules.Options{}, services...)
}

// toAndFro is the life of the process that is killed: it changes all services between two and three instances for ever.
func toAndFro() error {
	d, err := New(Options{NetNS: 3})
	if err != nil {
		return err
	}
	have, err := d.Read(context.Background())
	if err != nil {
		return err
	}
	two, three := crowd(2), crowd(3)
	for want := two; ; want, two, three = three, three, two {
		fmt.Println("applying")
		if _, err := rules.Carry(context.Background(), d, have, rules.Diff(have, want)); err != nil {
			return err
		}
	}
}

// A process that is killed in the middle of a transaction leaves the generation before or the one after, never a part:
// all frontends are at the same step.
func TestKilled(t *testing.T) {
	if os.Getenv("WEIR_TEST_CHILD") != "" {
		t.Fatal(toAndFro())
	}
	t.Parallel()
	ns := namespace(t)
	first := open(t, ns, OwnAuto)
	install(t, first, crowd(2))
	require.NoError(t, first.Close())
	seen := map[string]int{}
	for range 20 {
		killed(t, ns)
		state := read(t, open(t, ns, OwnOff))
		steps := map[string]int{}
		for _, p := range state.Placed {
			steps[p.String()]++
		}
		require.Empty(t, state.Damage)
		require.Len(t, steps, 1, "%v", steps)
		for step, n := range steps {
			require.Equal(t, crowded, n, step)
			seen[step]++
		}
	}
	t.Log(seen)
	d := open(t, ns, OwnAuto)
	install(t, d, crowd(1))
	require.Empty(t, rules.Diff(read(t, d), crowd(1)).String())
}

// killed runs a process that writes without a pause, and kills it at a random moment.
func killed(t *testing.T, ns int) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestKilled$", "-test.count=1")
	cmd.Env = append(os.Environ(), "WEIR_TEST_CHILD=1")
	cmd.ExtraFiles = []*os.File{os.NewFile(uintptr(dup(t, ns)), "namespace")}
	defer cmd.ExtraFiles[0].Close()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for range 1 + rand.IntN(3) {
		require.True(t, lines.Scan())
		require.Equal(t, "applying", lines.Text())
	}
	<-time.NewTimer(time.Duration(rand.IntN(200)) * time.Millisecond).C
	require.NoError(t, cmd.Process.Kill())
	err = cmd.Wait()
	require.ErrorContains(t, err, "signal: killed")
}

func dup(t *testing.T, fd int) int {
	copied, err := unix.Dup(fd)
	require.NoError(t, err)
	return copied
}
