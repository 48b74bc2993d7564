package shim

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What has no environment may be an instance that is about to get one, for as long as that takes.
func TestWhoHasNoEnvironmentYetIsWaitedFor(t *testing.T) {
	t.Parallel()
	self, err := Find(os.Getpid())
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), "/bin/sleep", "300")
	cmd.Env, cmd.SysProcAttr = []string{}, &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	r := Record{Boot: BootID(), Shim: self, State: Starting}
	for wait, least := range map[time.Duration]time.Duration{200 * time.Millisecond: 200 * time.Millisecond, time.Minute: execTime} {
		begin := time.Now()
		require.NoError(t, EndRemains(Order{EnvFile: t.TempDir()}, r, wait))
		require.GreaterOrEqual(t, time.Since(begin), least)
		require.Less(t, time.Since(begin), time.Minute, "it is somebody else's, and is not waited for longer")
	}
	p, err := Find(cmd.Process.Pid)
	require.NoError(t, err)
	require.True(t, p.Alive(), "somebody else's is not touched")
	r.Boot = "another"
	require.False(t, executing(r))
}
