package chaos

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/weir-lb/weir/etcd"
	"github.com/weir-lb/weir/integration"
)

var storeCases = map[string]func(*run){
	"C1":  leaderKilled,
	"C2":  leaderFrozen,
	"C3":  memberFrozen,
	"C4":  quorumLost,
	"C5":  compactedAway,
	"C6":  wiped,
	"C7":  rolledBack,
	"C8":  outOfSpace,
	"C10": leaseRevoked,
	"C11": slowDisk,
	"C12": lossyPath,
	"C14": certificates,
	"C15": rightsRevoked,
	"C17": silentWatch,
	"C18": versions,
	"C19": herd,
	"C20": quietWithoutEtcd,
	"C21": silentUnderMonitors,
}

// members is an etcd of n processes, as the distribution has it.
func (r *run) members(n int, args ...string) *integration.Members {
	r.Helper()
	binary, err := exec.LookPath("etcd")
	require.NoError(r, err, "make packages installs it")
	return integration.NewMembers(r, integration.MembersOptions{Programs: slices.Repeat([]string{binary}, n), Args: args})
}

// leader waits until a cluster has one.
func (r *run) leader(m *integration.Members) (leader *integration.Member) {
	r.Helper()
	begin := time.Now()
	for leader == nil {
		require.Less(r, time.Since(begin), 20*time.Second, "no leader")
		leader = m.Leader()
	}
	return leader
}

// through is the world as seen by somebody whose store asks one member first, and the others when that fails.
func (r *run) through(w *integration.World, m *integration.Members, first *integration.Member) *integration.World {
	r.Helper()
	seen := *w
	for {
		store, err := etcd.Open(r.Context(), etcd.Config{Endpoints: m.Endpoints()})
		require.NoError(r, err)
		client, err := store.Client()
		require.NoError(r, err)
		if slices.Equal(client.Endpoints(), []string{first.Endpoint()}) {
			r.Cleanup(func() { require.NoError(r, store.Close()) })
			seen.Store = store
			return &seen
		}
		require.NoError(r, store.Close()) // each begins at a member by chance
	}
}

// weir runs the program as an operator does. It returns what it said and its exit code.
func (r *run) weir(w *integration.World, args ...string) (said string, code int) {
	r.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "WEIR_ETCD_ENDPOINTS="+w.Endpoint())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		require.NoError(r, err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// most notes the largest value of a figure.
func (r *run) most(name string, value float64) {
	r.figure(name, max(r.line.Figures[name], value))
}

// seconds since a moment.
func seconds(began time.Time) float64 { return time.Since(began).Seconds() }
